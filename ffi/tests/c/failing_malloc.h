/*
 * A malloc whose n-th call fails, and, if wanted, all after it: in this thread, or in all. With RTM_WRAPPED
 * the linker puts it before malloc (--wrap) for the program and librtm.a, also in front of a checker's; without, it
 * takes the place of malloc for the whole process, the C library included.
 */
#ifndef RTM_TEST_FAILING_MALLOC_H
#define RTM_TEST_FAILING_MALLOC_H

#include <errno.h>
#include <stddef.h>

#ifdef RTM_WRAPPED
#define OURS(name) __wrap_##name
#define THEIRS(name) __real_##name
#else
#define OURS(name) name
#define THEIRS(name) __libc_##name
#endif

void *THEIRS(malloc)(size_t size);
void *THEIRS(calloc)(size_t number, size_t size);
void *THEIRS(realloc)(void *place, size_t size);
void THEIRS(free)(void *place);
#ifdef RTM_WRAPPED
int THEIRS(posix_memalign)(void **place, size_t align, size_t size);
void *THEIRS(aligned_alloc)(size_t align, size_t size);
#else
void *THEIRS(memalign)(size_t align, size_t size);
#endif
void *OURS(malloc)(size_t size);
void *OURS(calloc)(size_t number, size_t size);
void *OURS(realloc)(void *place, size_t size);
void OURS(free)(void *place);
int OURS(posix_memalign)(void **place, size_t align, size_t size);
void *OURS(aligned_alloc)(size_t align, size_t size);

/* Blocks that are allocated. */
static long blocks;
/* The allocations until one fails, whether those after it fail too, how many have. */
static long fail_at, fail_on, failed;
static int failing_everywhere;
static __thread int failing_here;

static int fails(void)
{
    long left;
    if (!failing_here && !__atomic_load_n(&failing_everywhere, __ATOMIC_SEQ_CST))
        return 0;
    left = __atomic_sub_fetch(&fail_at, 1, __ATOMIC_SEQ_CST);
    if (left > 0 || (left < 0 && !fail_on))
        return 0;
    __atomic_fetch_add(&failed, 1, __ATOMIC_SEQ_CST);
    errno = ENOMEM;
    return 1;
}

static void *counted(void *place)
{
    if (place)
        __atomic_fetch_add(&blocks, 1, __ATOMIC_SEQ_CST);
    return place;
}

void *OURS(malloc)(size_t size)
{
    return fails() ? NULL : counted(THEIRS(malloc)(size));
}

void *OURS(calloc)(size_t number, size_t size)
{
    return fails() ? NULL : counted(THEIRS(calloc)(number, size));
}

void *OURS(realloc)(void *place, size_t size)
{
    void *new_place;
    if (fails())
        return NULL;
    new_place = THEIRS(realloc)(place, size);
    return place ? new_place : counted(new_place);
}

void OURS(free)(void *place)
{
    if (place)
        __atomic_fetch_sub(&blocks, 1, __ATOMIC_SEQ_CST);
    THEIRS(free)(place);
}

int OURS(posix_memalign)(void **place, size_t align, size_t size)
{
    if (fails())
        return ENOMEM;
#ifdef RTM_WRAPPED
    {
        int code = THEIRS(posix_memalign)(place, align, size);
        if (code == 0)
            counted(*place);
        return code;
    }
#else
    *place = counted(THEIRS(memalign)(align, size));
    return *place ? 0 : ENOMEM;
#endif
}

void *OURS(aligned_alloc)(size_t align, size_t size)
{
    if (fails())
        return NULL;
#ifdef RTM_WRAPPED
    return counted(THEIRS(aligned_alloc)(align, size));
#else
    return counted(THEIRS(memalign)(align, size));
#endif
}

/* The n-th allocation from now on fails. */
static void fail_from(long n, int on)
{
    __atomic_store_n(&failed, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fail_on, on, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fail_at, n, __ATOMIC_SEQ_CST);
}

#endif
