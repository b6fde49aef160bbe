/* liburcu's cds_lfht, in the flavour memb or (QSBR) qsbr.
 *
 * The table has a fixed number of buckets, two for each entity expected: left to resize itself, it stays far
 * too small after it has been emptied and filled again. Node, key and entity are one allocation; the read
 * side is compiled in (_LGPL_SOURCE). A thread gathers what it removes and waits for one grace period for
 * 256 of them, which costs a quarter of call_rcu. qsbr: a thread is on line from its first call until it
 * rests, and reports a quiescent state where others leave. */
#define _GNU_SOURCE
#define _LGPL_SOURCE
#define URCU_INLINE_SMALL_FUNCTIONS
#include "peers.h"
#include <pthread.h>
#ifdef QSBR
#include <urcu/urcu-qsbr.h>
#define RCU(name) urcu_qsbr_##name
#define PEER rtm_peer_urcu_qsbr
#else
#include <urcu/urcu-memb.h>
#define RCU(name) urcu_memb_##name
#define PEER rtm_peer_urcu_memb
#endif
#include <urcu/rculfhash.h>

#define BATCH 256

struct node {
    struct cds_lfht_node link;
    uint64_t key;
    struct entity entity;
};

static struct cds_lfht *table;
static pthread_key_t at_thread_end;
static __thread struct {
    int attached;
    int online;
    unsigned removed;
    struct node *garbage[BATCH];
} self;

static inline struct node *node_of(struct cds_lfht_node *link) { return (struct node *)link; }

static void peer_rest(void) {
#ifdef QSBR
    if (self.online) {
        self.online = 0;
        RCU(thread_offline)();
    }
#endif
}

/* Outside. */
static __attribute__((noinline)) void release(void) {
    RCU(synchronize_rcu)();
    while (self.removed != 0) {
        free(self.garbage[--self.removed]);
    }
}

static void detach(void *unused) {
    (void)unused;
    peer_rest();
    release();
    RCU(unregister_thread)();
}

static __attribute__((noinline, cold)) void attach(void) {
    RCU(register_thread)();
    self.attached = 1;
    self.online = 1;
    pthread_setspecific(at_thread_end, &self);
}

static inline void peer_attach(void) {
    if (!self.attached) {
        attach();
    }
#ifdef QSBR
    if (!self.online) {
        self.online = 1;
        RCU(thread_online)();
    }
#endif
}

static inline void peer_enter(void) {
#ifndef QSBR
    RCU(read_lock)();
#endif
}

static inline void peer_leave(void) {
#ifdef QSBR
    RCU(quiescent_state)();
#else
    RCU(read_unlock)();
#endif
}

static void peer_open(size_t expected) {
    unsigned long buckets = 1;
    while (buckets < 2 * expected) {
        buckets *= 2;
    }
    pthread_key_create(&at_thread_end, detach);
    peer_attach();
    table = cds_lfht_new_flavor(buckets, buckets, 0, 0, &RCU(flavor), NULL);
    if (!table) {
        abort();
    }
}

static int is_it(struct cds_lfht_node *link, const void *key) {
    return node_of(link)->key == *(const uint64_t *)key;
}

static inline struct cds_lfht_node *find(uint64_t key) {
    struct cds_lfht_iter place;
    cds_lfht_lookup(table, hash_of(key), is_it, &key, &place);
    return cds_lfht_iter_get_node(&place);
}

static inline uint64_t peer_find(uint64_t key) {
    struct cds_lfht_node *link = find(key);
    return link ? node_of(link)->entity.payload[1] : NONE;
}

static inline uint64_t peer_insert(uint64_t id) {
    struct node *node = malloc(sizeof *node);
    if (!node) {
        abort();
    }
    uint64_t key = node->key = fresh_key();
    entity_init(&node->entity, id);
    cds_lfht_node_init(&node->link);
    peer_enter();
    cds_lfht_add(table, hash_of(key), &node->link);
    peer_leave();
    return key;
}

static inline int peer_remove(uint64_t key) {
    peer_enter();
    struct cds_lfht_node *link = find(key);
    int removed = link && cds_lfht_del(table, link) == 0;
    peer_leave();
    if (removed) {
        self.garbage[self.removed++] = node_of(link);
        if (self.removed == BATCH) {
            release();
        }
    }
    return removed;
}

static uint64_t peer_count(uint64_t *sum) {
    uint64_t count = 0;
    struct cds_lfht_iter place;
    struct node *node;
    *sum = 0;
    peer_enter();
    cds_lfht_for_each_entry(table, &place, node, link) {
        count++;
        *sum += node->entity.payload[1];
    }
    peer_leave();
    return count;
}

static void peer_settle(void) { release(); }

#include "peers_loops.h"
