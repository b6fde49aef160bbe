/*
 * The workers of rtm-load in C: what a router daemon does with the library, and the checks that it is
 * done right. Compiled twice: calling the library directly (linked in), and through a table of functions
 * that were looked up in the shared library (LOAD_VIA_TABLE).
 *
 * load.c: those that resolve, re-register and list. client.c: those that invoke. listen.c: those that
 * are told. soak.c: those of a soak. tools.h: what they share.
 *
 * The board. Entity i's handle stands in handles[i] while it is registered, and 0 otherwise. A churner
 * owns entity i from the moment it has exchanged the handle for 0 until it puts a new one there. So a
 * handle that is on the board before and after a look-up belongs to an entity that was registered all
 * the while, and the look-up must succeed.
 *
 * Gates. Callees are entities that export a method. gates[i] is the callee's handle while its methods may
 * run: from before it is on the board until its deregistration has returned. A method that finds anything
 * else there runs when it must not. contexts[i] is the callee's context, which must be alive meanwhile.
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
    LOAD_INVOKE,
    LOAD_BLOCK,      /* block and resume */
    LOAD_RUNDOWN,    /* deregister a callee */
    LOAD_TOLD_QUEUE, /* one event dispatched by the load's own thread */
    LOAD_TOLD_POOL,  /* one event told by a thread of the library's */
    LOAD_WAKE,       /* from the begin of a registration until all listeners have been told, all asleep */
    LOAD_REFER,      /* one entity referenced and released */
    LOAD_HOLD,       /* a section with its naps */
    LOAD_VISIT,      /* a thread comes and goes */
    LOAD_SYNCHRONIZE,
    LOAD_FLUSH,
    LOAD_LIMITS,     /* limits set */
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

/* What a listener has been told. */
struct load_tally {
    uint64_t told;
    uint64_t missed;
    uint64_t rounds; /* registrations */
    uint64_t padding[5];
};

struct load {
    const struct load_identity *identities;
    uint64_t *handles;
    uint64_t *stale;           /* pairs: handle, entity */
    uint64_t *gates;
    uint64_t *contexts;
    const uint32_t *by_asn;    /* hash table of the first instance: entity / 2 + 1 */
    struct load_tally *tallies;
    uint32_t entities;
    uint32_t permanent_stride; /* every so many entities one is never deregistered */
    uint32_t stale_mask;
    uint32_t stop;
    uint32_t quiet;            /* all but the listeners' threads have ended */
    uint32_t settled;          /* the listeners are gone */
    uint32_t first_instance;   /* entities of the first instance, in front */
    uint32_t by_asn_bits;
    uint32_t listeners;
    uint32_t invokers;
    uint64_t journal;          /* events that are kept for slow listeners; 0: the default */
    uint64_t stale_count;
    uint64_t cleaned;
    uint64_t timer_ns;         /* what reading the clock twice costs */
    uint64_t patience_ns;      /* until an event is lost */
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
