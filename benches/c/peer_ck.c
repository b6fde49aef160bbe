/* ConcurrencyKit's ck_hs, a set of pointers, with ck_epoch.
 *
 * Any number read while one writes, under a spinlock. Key and entity are one allocation. A removal leaves a
 * tombstone: the set is rebuilt after as many as half of what it was made for. A removing thread polls its
 * epoch each 64th time. */
#define _GNU_SOURCE
#include "peers.h"
#include <ck_epoch.h>
#include <ck_hs.h>
#include <ck_spinlock.h>
#include <pthread.h>
#define PEER rtm_peer_ck

struct node {
    uint64_t key;
    ck_epoch_entry_t garbage;
    struct entity entity;
};

struct block {
    ck_epoch_entry_t garbage;
    void *memory;
};

static ck_hs_t set;
static ck_epoch_t epoch;
static ck_spinlock_t writer = CK_SPINLOCK_INITIALIZER;
static size_t removed, most_removed;
static pthread_key_t at_thread_end;
static __thread ck_epoch_record_t *record;
static __thread unsigned since_poll;

static void release(ck_epoch_entry_t *garbage) {
    free((char *)garbage - offsetof(struct node, garbage));
}

static void release_block(ck_epoch_entry_t *garbage) {
    struct block *block = (struct block *)garbage;
    free(block->memory);
    free(block);
}

static void *allocate(size_t size) { return malloc(size); }

static void deallocate(void *memory, size_t size, bool readers) {
    (void)size;
    if (!readers) {
        free(memory);
        return;
    }
    struct block *block = malloc(sizeof *block);
    if (!block) {
        abort();
    }
    block->memory = memory;
    ck_epoch_call(record, &block->garbage, release_block);
}

static struct ck_malloc memory = {.malloc = allocate, .free = deallocate};

static unsigned long hash(const void *node, unsigned long seed) {
    (void)seed;
    return hash_of(((const struct node *)node)->key);
}

static bool is_same(const void *one, const void *other) {
    return ((const struct node *)one)->key == ((const struct node *)other)->key;
}

static void detach(void *unused) {
    (void)unused;
    ck_epoch_barrier(record);
    ck_epoch_unregister(record);
}

static __attribute__((noinline, cold)) void attach(void) {
    record = ck_epoch_recycle(&epoch, NULL);
    if (!record) {
        record = aligned_alloc(128, (sizeof *record + 127) & ~(size_t)127);
        if (!record) {
            abort();
        }
        ck_epoch_register(&epoch, record, NULL);
    }
    pthread_setspecific(at_thread_end, record);
}

static inline void peer_attach(void) {
    if (!record) {
        attach();
    }
}

static void peer_rest(void) {}
static inline void peer_enter(void) { ck_epoch_begin(record, NULL); }
static inline void peer_leave(void) { ck_epoch_end(record, NULL); }

static void peer_open(size_t expected) {
    pthread_key_create(&at_thread_end, detach);
    ck_epoch_init(&epoch);
    peer_attach();
    most_removed = expected / 2 < 512 ? 512 : expected / 2;
    unsigned mode = CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT | CK_HS_MODE_DELETE;
    if (!ck_hs_init(&set, mode, hash, is_same, &memory, expected * 2, 1)) {
        abort();
    }
}

static inline uint64_t peer_find(uint64_t key) {
    struct node like;
    like.key = key;
    const struct node *node = ck_hs_get(&set, hash_of(key), &like);
    return node ? node->entity.payload[1] : NONE;
}

static inline uint64_t peer_insert(uint64_t id) {
    struct node *node = malloc(sizeof *node);
    if (!node) {
        abort();
    }
    uint64_t key = node->key = fresh_key();
    entity_init(&node->entity, id);
    ck_spinlock_lock(&writer);
    bool done = ck_hs_put(&set, hash_of(key), node);
    ck_spinlock_unlock(&writer);
    if (!done) {
        abort();
    }
    return key;
}

static inline int peer_remove(uint64_t key) {
    struct node like;
    like.key = key;
    ck_spinlock_lock(&writer);
    struct node *node = ck_hs_remove(&set, hash_of(key), &like);
    if (node && ++removed == most_removed) {
        removed = 0;
        ck_hs_rebuild(&set);
    }
    ck_spinlock_unlock(&writer);
    if (!node) {
        return 0;
    }
    ck_epoch_call(record, &node->garbage, release);
    if (++since_poll % 64 == 0) {
        ck_epoch_poll(record);
    }
    return 1;
}

static uint64_t peer_count(uint64_t *sum) {
    uint64_t count = 0;
    ck_hs_iterator_t place = CK_HS_ITERATOR_INITIALIZER;
    void *node;
    *sum = 0;
    peer_enter();
    while (ck_hs_next_spmc(&set, &place, &node)) {
        count++;
        *sum += ((const struct node *)node)->entity.payload[1];
    }
    peer_leave();
    return count;
}

static void peer_settle(void) { ck_epoch_barrier(record); }

#include "peers_loops.h"
