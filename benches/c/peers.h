/* What the peers in C and C++ share: the interface that src/compare/c_peers.rs calls, and the loops behind it.
 *
 * A peer's file defines static inline functions and then includes peers_loops.h:
 *
 *   peer_open(expected)   makes the table
 *   peer_insert(id)       inserts an entity and returns a key that was never given out before
 *   peer_remove(key)      whether it was there
 *   peer_enter() and peer_leave()    what a look-up needs around it
 *   peer_find(key)        a word of the payload, which is the id, between the two; NONE
 *   peer_count(sum)       how many there are; the sum of their ids
 *   peer_settle()         lets garbage go; outside
 *   peer_attach()         before anything else of a call, in whatever thread it is made
 *   peer_rest()           before the thread waits for others */
#ifndef RTM_BENCHES_PEERS_H
#define RTM_BENCHES_PEERS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* No entity has this id. */
#define NONE UINT64_MAX

struct entity {
    uint64_t id;
    uint64_t table;
    uint64_t payload[14];
};

/* One table for a process. Each does all of an operation for many keys, so that a call costs them nothing. */
struct peer {
    void (*open)(size_t expected);
    uint64_t (*insert)(uint64_t id);
    int (*remove)(uint64_t key);
    uint64_t (*get)(uint64_t key);
    void (*enter)(void);
    void (*leave)(void);
    uint64_t (*get_held)(uint64_t key);
    /* These return the sum of the ids of all that are found. */
    uint64_t (*look_up)(const uint64_t *keys, size_t count);
    uint64_t (*look_up_dependent)(const uint64_t *keys, size_t count);
    uint64_t (*look_up_held)(const uint64_t *keys, size_t count);
    /* Removes all and inserts others, with ids from `next` on; whether all were there. */
    int (*renew)(uint64_t *keys, size_t count, uint64_t next);
    int (*pairs)(size_t count, uint64_t first);
    int (*replace)(uint64_t *keys, const size_t *places, size_t count);
    uint64_t (*count)(uint64_t *sum);
    void (*settle)(void);
    void (*rest)(void);
};

static inline void entity_init(struct entity *entity, uint64_t id) {
    entity->id = id;
    entity->table = 0;
    for (unsigned word = 0; word < 14; word++) {
        entity->payload[word] = id;
    }
}

/* As the maps of peers.rs hash. */
static inline uint64_t hash_of(uint64_t key) {
    uint64_t product = key * 0x9e3779b97f4a7c15u;
    return product ^ product >> 32;
}

/* A key that was never given out, as in peers.rs: threads take numbers by the million. */
static inline uint64_t fresh_key(void) {
    static const uint64_t taken = 1u << 20;
    static uint64_t next;
    static __thread uint64_t own;
    if (own % taken == 0) {
        own = __atomic_add_fetch(&next, taken, __ATOMIC_RELAXED) + 1;
    }
    uint64_t key = own++;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
    return key ^ key >> 27;
}

#endif
