/*
 * The workers of rtm-load in C: what a router daemon does with the library, and the checks that it is
 * done right. Compiled twice: calling the library directly (linked in), and through a table of functions
 * that were looked up in the shared library (LOAD_VIA_TABLE).
 *
 * The board. Entity i's handle stands in handles[i] while it is registered, and 0 otherwise. A churner
 * owns entity i from the moment it has exchanged the handle for 0 until it puts a new one there. So a
 * handle that is on the board before and after a look-up belongs to an entity that was registered all
 * the while, and the look-up must succeed.
 */
#ifndef RTM_LOAD_H
#define RTM_LOAD_H

#include <stdint.h>

enum load_kind {
    LOAD_LOOKUP,     /* enter, look up, read, leave */
    LOAD_HELD,       /* look up and read inside a held section */
    LOAD_BATCH,      /* one of a batch of 64 in a held section */
    LOAD_INFO,       /* plain copy, no section (checks two handles) */
    LOAD_STALE,      /* refused handle, inside a held section */
    LOAD_REGISTER,
    LOAD_DEREGISTER,
    LOAD_ENUMERATE,  /* one entity listed, referenced and released */
    LOAD_KINDS
};

/* Log-linear: 16 steps for each power of two of nanoseconds. */
enum { LOAD_STEPS = 16, LOAD_BUCKETS = 40 * LOAD_STEPS };

struct load_identity {
    uint16_t instance;
    uint16_t family;
    uint32_t asn;
    uint32_t prefixes;
};

struct load {
    const struct load_identity *identities;
    uint64_t *handles;
    uint64_t *stale;           /* pairs: handle, entity */
    uint32_t entities;
    uint32_t permanent_stride; /* every so many entities one is never deregistered */
    uint32_t stale_mask;
    uint32_t stop;
    uint64_t stale_count;
    uint64_t cleaned;
    uint64_t timer_ns;         /* what reading the clock twice costs */
    uint32_t violated;
    char violation[252];
};

struct load_worker {
    struct load *load;
    uint64_t random;
    uint32_t id;
    uint32_t padding;
    uint64_t operations[LOAD_KINDS];
    uint64_t block_ns[LOAD_KINDS];  /* time of whole blocks... */
    uint64_t block_ops[LOAD_KINDS]; /* ...of so many operations */
    uint64_t max_ns[LOAD_KINDS];
    uint64_t created;
    uint64_t refused; /* registrations refused by back-pressure, tried again */
    uint64_t histogram[LOAD_KINDS][LOAD_BUCKETS];
};

#endif
