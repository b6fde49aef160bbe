/* The timed loops, over the functions of the peer that includes this. PEER names what it exports. */

static uint64_t do_insert(uint64_t id) {
    peer_attach();
    return peer_insert(id);
}

static int do_remove(uint64_t key) {
    peer_attach();
    return peer_remove(key);
}

static inline uint64_t find_alone(uint64_t key) {
    peer_enter();
    uint64_t id = peer_find(key);
    peer_leave();
    return id;
}

static uint64_t do_get(uint64_t key) {
    peer_attach();
    return find_alone(key);
}

static void do_enter(void) {
    peer_attach();
    peer_enter();
}

static void do_leave(void) { peer_leave(); }

static uint64_t do_get_held(uint64_t key) { return peer_find(key); }

static uint64_t do_look_up(const uint64_t *keys, size_t count) {
    peer_attach();
    uint64_t sum = 0;
    for (size_t at = 0; at < count; at++) {
        uint64_t id = find_alone(keys[at]);
        sum += id == NONE ? 0 : id;
    }
    return sum;
}

static uint64_t do_look_up_dependent(const uint64_t *keys, size_t count) {
    peer_attach();
    uint64_t sum = 0;
    for (size_t at = 0; at < count;) {
        uint64_t id = find_alone(keys[at]);
        id = id == NONE ? 0 : id;
        sum += id;
        /* No id has this bit. */
        at += 1 + (id >> 63);
    }
    return sum;
}

static uint64_t do_look_up_held(const uint64_t *keys, size_t count) {
    peer_attach();
    uint64_t sum = 0;
    peer_enter();
    for (size_t at = 0; at < count; at++) {
        uint64_t id = peer_find(keys[at]);
        sum += id == NONE ? 0 : id;
    }
    peer_leave();
    return sum;
}

static int do_renew(uint64_t *keys, size_t count, uint64_t next) {
    peer_attach();
    int all = 1;
    for (size_t at = 0; at < count; at++) {
        all &= peer_remove(keys[at]);
        keys[at] = peer_insert(next++);
    }
    return all;
}

static int do_pairs(size_t count, uint64_t first) {
    peer_attach();
    int all = 1;
    for (uint64_t id = first; id < first + count; id++) {
        all &= peer_remove(peer_insert(id));
    }
    return all;
}

static int do_replace(uint64_t *keys, const size_t *places, size_t count) {
    peer_attach();
    int all = 1;
    for (size_t at = 0; at < count; at++) {
        uint64_t *key = &keys[places[at]];
        uint64_t id = find_alone(*key);
        all &= id != NONE && peer_remove(*key);
        *key = peer_insert(id);
    }
    return all;
}

static uint64_t do_count(uint64_t *sum) {
    peer_attach();
    return peer_count(sum);
}

static void do_settle(void) {
    peer_attach();
    peer_settle();
}

#ifdef __cplusplus
extern "C"
#endif
const struct peer PEER;
const struct peer PEER = {
    peer_open, do_insert, do_remove, do_get, do_enter, do_leave, do_get_held, do_look_up,
    do_look_up_dependent, do_look_up_held, do_renew, do_pairs, do_replace, do_count, do_settle, peer_rest,
};
