/* What the emulated driver is made of: memory that is watched, streams that are threads, and work that is done later. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int CUresult;
enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};
#define API __attribute__((visibility("default"))) CUresult
#define ON_DEVICE ((uint64_t)1 << 62)
#define NEW_DEVICE 0xD5
#define NEW_HOST 0xA5
#define FREED 0xEE
#define MOST_DEVICES 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* -- what a test sets ---------------------------------------------------------------------------------------------- */

static int started, delay_us = 300, devices = 1;
static uint64_t room = (uint64_t)1 << 30;
static long fails_in;   /* work that is done until one faults; 0: none does */
static long refuses_in; /* calls for work until one is refused; 0: none is */
static CUresult broken; /* what every call answers after a fault */

/* -- memory -------------------------------------------------------------------------------------------------------- */

typedef struct Block {
    unsigned char *data;
    size_t size;
    int live, pinned, device;
    struct Block *next;
} Block;
static Block *blocks;

static Block *block_of(const void *address, size_t size) {
    const unsigned char *first = address;
    for (Block *each = blocks; each; each = each->next)
        if (first >= each->data && first + size <= each->data + each->size) return each;
    return NULL;
}

static uint64_t held(int pinned, int device) {
    uint64_t bytes = 0;
    for (Block *each = blocks; each; each = each->next)
        if (each->live && each->pinned == pinned && (device < 0 || each->device == device)) bytes += each->size;
    return bytes;
}

static void *take(size_t size, int pinned, int device) {
    Block *block = calloc(1, sizeof *block);
    if (posix_memalign((void **)&block->data, 4096, size)) abort();
    memset(block->data, pinned ? NEW_HOST : NEW_DEVICE, size);
    *block = (Block){block->data, size, 1, pinned, device, blocks};
    blocks = block;
    return block->data;
}

static CUresult give_back(void *data, int pinned) {
    for (Block *each = blocks; each; each = each->next)
        if (each->data == data && each->live && each->pinned == pinned) {
            each->live = 0;
            memset(each->data, FREED, each->size);
            return SUCCESS;
        }
    return INVALID_VALUE;
}

/* -- contexts ------------------------------------------------------------------------------------------------------ */

typedef struct { int device, retained; } Context;
static Context primary[MOST_DEVICES];
static __thread Context *current[16];
static __thread int depth;

static Context *here(void) { return depth ? current[depth - 1] : NULL; }

/* -- events and streams -------------------------------------------------------------------------------------------- */

typedef struct { int passed; double at; } Mark; /* one record of an event; kept for ever, since streams may wait for it */
typedef struct { Mark *mark; int live; } Event;
typedef void (*Kernel)(void *);
typedef struct Work {
    enum { COPY, RECORD, WAIT, COMPUTE } kind;
    void *target, *source, *data;
    size_t size;
    Kernel kernel;
    Mark *mark;
    struct Work *next;
} Work;
typedef struct { Work *first, *last; int live, invalid, mode; pthread_t thread; } Graph;
typedef struct {
    Work *first, *last;
    int busy, live, ending;
    pthread_t thread;
    Graph *capture;
} Stream;
static int streams, events, graphs;
static long undone; /* work on all streams that is not done yet */
static Graph *strict_captures[16]; /* captures under way, which forbid some calls */

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

static void nap(void) {
    static __thread unsigned seed;
    if (!seed) seed = (unsigned)(uintptr_t)&seed;
    int most = delay_us;
    if (most) usleep(most / 4 + rand_r(&seed) % most);
}

static int reachable(void *address, size_t size) {
    Block *block = block_of(address, size);
    return !block || block->live; /* what is in no block is ordinary memory of the host */
}

static void *host(uint64_t address) { return (void *)(uintptr_t)(address & ~ON_DEVICE); }

/* Do a piece of work; the lock is held, except while a kernel runs. */
static void perform(Work *work) {
    if (work->kind == WAIT)
        while (!work->mark->passed) pthread_cond_wait(&changed, &lock);
    if (work->kind == COPY || work->kind == COMPUTE)
        if (!broken && fails_in && --fails_in == 0) broken = ILLEGAL_ADDRESS;
    if (work->kind == COPY && !broken) {
        if (reachable(work->target, work->size) && reachable(work->source, work->size))
            memcpy(work->target, work->source, work->size);
        else
            broken = ILLEGAL_ADDRESS;
    }
    if (work->kind == COMPUTE && !broken) {
        pthread_mutex_unlock(&lock);
        work->kernel(work->data);
        pthread_mutex_lock(&lock);
    }
    if (work->kind == RECORD) {
        work->mark->passed = 1;
        work->mark->at = now();
    }
    pthread_cond_broadcast(&changed);
}

static void *run(void *given) {
    Stream *stream = given;
    pthread_mutex_lock(&lock);
    while (1) {
        while (!stream->first && !stream->ending) pthread_cond_wait(&changed, &lock);
        if (!stream->first) break;
        Work *work = stream->first;
        stream->first = work->next;
        stream->busy = 1;
        pthread_mutex_unlock(&lock);
        if (work->kind == COPY || work->kind == COMPUTE) nap();
        pthread_mutex_lock(&lock);
        perform(work);
        stream->busy = 0, undone--;
        free(work);
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void append(Work **first, Work **last, Work work) {
    Work *kept = malloc(sizeof *kept);
    *kept = work;
    kept->next = NULL;
    if (*first) (*last)->next = kept;
    else *first = kept;
    *last = kept;
}

/* Put work on a stream, or into the graph that is captured from it. */
static CUresult put(Stream *stream, Work work) {
    if (!stream || !stream->live) return INVALID_HANDLE;
    if (refuses_in && --refuses_in == 0) return INVALID_VALUE;
    if (stream->capture) append(&stream->capture->first, &stream->capture->last, work);
    else append(&stream->first, &stream->last, work), undone++;
    pthread_cond_broadcast(&changed);
    return SUCCESS;
}

/* Calls that a capture forbids: to this thread, or to all where the capture is a global one (mode 0). */
static CUresult forbidden(void) {
    CUresult found = SUCCESS;
    for (int at = 0; at < 16; at++) {
        Graph *each = strict_captures[at];
        if (each && each->mode != 2 && (each->mode == 0 || pthread_equal(each->thread, pthread_self()))) {
            each->invalid = 1;
            found = CAPTURE_UNSUPPORTED;
        }
    }
    return found;
}

#define BEGIN                                            \
    if (!started) return NOT_INITIALIZED;                \
    pthread_mutex_lock(&lock);                           \
    CUresult answer = SUCCESS;
#define BEGIN_HERE                                       \
    BEGIN                                                \
    if (!here() || !here()->retained) answer = INVALID_CONTEXT; \
    else answer = broken;                                \
    if (answer) goto end;
#define END                                              \
    goto end;                                            \
    end:                                                 \
    pthread_mutex_unlock(&lock);                         \
    return answer;
