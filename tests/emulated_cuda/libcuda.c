/* An NVIDIA driver without a GPU, for tests: what unet-deploy calls of libcuda, kept to its promises and to no more.
 *
 * Every stream is a thread that takes its time: a call returns, and the work is done later, after a random delay. A copy
 * from or to pinned memory reads and writes that memory when it is its turn, not when it is called. Memory that is new
 * or freed holds a pattern. Freed memory is never given out again, so that work which still uses it is an illegal
 * access; like any fault on a device, that is what every later call answers. Addresses on the device are no addresses
 * of the host: to read one there ends the process.
 *
 *   stream 1:  upload ── record ─┐                       one thread
 *   stream 2:                    └─ wait ── compute      another
 *
 * What is stricter than a GPU: every call needs a current context, and freeing does not wait for work in flight.
 * Compile: cc -shared -fPIC -pthread -o libcuda.so.1 libcuda.c
 */
#define _GNU_SOURCE
#include "device.h"

/* -- the driver and its devices ------------------------------------------------------------------------------------ */

API cuInit(unsigned flags) {
    const char *value;
    if (flags) return INVALID_VALUE;
    if ((value = getenv("EMULATED_CUDA_DEVICES"))) devices = atoi(value);
    if ((value = getenv("EMULATED_CUDA_MEMORY"))) room = strtoull(value, NULL, 10);
    if (!devices) return NO_DEVICE;
    started = 1;
    return SUCCESS;
}
API cuDriverGetVersion(int *version) {
    const char *value = getenv("EMULATED_CUDA_VERSION");
    *version = value ? atoi(value) : 13000;
    return SUCCESS;
}
API cuDeviceGetCount(int *count) { *count = devices; return started ? SUCCESS : NOT_INITIALIZED; }
API cuDeviceGet(int *device, int index) {
    if (!started) return NOT_INITIALIZED;
    if (index < 0 || index >= devices) return INVALID_DEVICE;
    *device = index;
    return SUCCESS;
}
API cuDeviceGetName(char *name, int size, int device) { (void)device; strncpy(name, "Emulated GPU", size); return SUCCESS; }
API cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 1; /* compute capability 8.9 */
    return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = room; return SUCCESS; }
API cuGetErrorString(CUresult status, const char **text) {
    *text = status == SUCCESS ? "no error" : status == OUT_OF_MEMORY ? "out of memory"
        : status == ILLEGAL_ADDRESS ? "an illegal memory access was encountered"
        : status == INVALID_CONTEXT ? "invalid device context" : status == NO_DEVICE ? "no CUDA-capable device is detected"
        : status == CAPTURE_UNSUPPORTED ? "operation not permitted when stream is capturing" : "an error of the emulation";
    return SUCCESS;
}
API cuGetErrorName(CUresult status, const char **text) { return cuGetErrorString(status, text); }

API cuDevicePrimaryCtxRetain(Context **context, int device) {
    BEGIN
    primary[device].device = device;
    primary[device].retained++;
    *context = &primary[device];
    END
}
API cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN
    if (!primary[device].retained) answer = INVALID_CONTEXT;
    else primary[device].retained--;
    END
}
API cuCtxPushCurrent_v2(Context *context) {
    if (!context || depth == 16) return INVALID_CONTEXT;
    current[depth++] = context;
    return SUCCESS;
}
API cuCtxPopCurrent_v2(Context **context) {
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = current[depth];
    return SUCCESS;
}
API cuCtxGetCurrent(Context **context) { *context = here(); return SUCCESS; }
API cuCtxSetCurrent(Context *context) {
    if (context && !depth) depth = 1;
    if (context) current[depth - 1] = context;
    else depth = 0;
    return SUCCESS;
}
API cuCtxGetDevice(int *device) {
    if (!here()) return INVALID_CONTEXT;
    *device = here()->device;
    return SUCCESS;
}
API cuCtxGetApiVersion(Context *context, unsigned *version) { (void)context; *version = 3020; return SUCCESS; }

API cuMemGetInfo_v2(size_t *left, size_t *all) {
    BEGIN_HERE
    *all = room;
    *left = room - held(0, here()->device);
    END
}
API cuMemAlloc_v2(uint64_t *address, size_t size) {
    BEGIN_HERE
    if ((answer = forbidden())) goto end;
    if (held(0, here()->device) + size > room) answer = OUT_OF_MEMORY;
    else *address = (uint64_t)(uintptr_t)take(size, 0, here()->device) | ON_DEVICE;
    END
}
API cuMemFree_v2(uint64_t address) {
    BEGIN_HERE
    answer = give_back(host(address), 0);
    END
}
API cuMemHostAlloc(void **address, size_t size, unsigned flags) {
    BEGIN_HERE
    (void)flags;
    if (!(answer = forbidden())) *address = take(size, 1, here()->device);
    END
}
API cuMemAllocHost_v2(void **address, size_t size) { return cuMemHostAlloc(address, size, 0); }
API cuMemFreeHost(void *address) {
    BEGIN_HERE
    answer = give_back(address, 1);
    END
}

/* -- work ---------------------------------------------------------------------------------------------------------- */

API cuStreamCreate(Stream **stream, unsigned flags) {
    BEGIN_HERE
    (void)flags;
    *stream = calloc(1, sizeof **stream);
    (*stream)->live = 1;
    streams++;
    pthread_create(&(*stream)->thread, NULL, run, *stream);
    pthread_detach((*stream)->thread);
    END
}
API cuStreamDestroy_v2(Stream *stream) { /* returns at once; the work is still done */
    BEGIN_HERE
    if (!stream->live) answer = INVALID_HANDLE;
    else {
        stream->live = 0, stream->ending = 1, streams--;
        pthread_cond_broadcast(&changed);
    }
    END
}
API cuStreamSynchronize(Stream *stream) {
    BEGIN_HERE
    if (stream->capture) {
        stream->capture->invalid = 1;
        answer = CAPTURE_UNSUPPORTED;
        goto end;
    }
    while (stream->first || stream->busy) pthread_cond_wait(&changed, &lock);
    answer = broken;
    END
}
API cuStreamQuery(Stream *stream) {
    BEGIN_HERE
    if (stream->first || stream->busy) answer = NOT_READY;
    END
}
API cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
    BEGIN_HERE
    (void)flags;
    if (!event->live) answer = INVALID_HANDLE;
    else if (event->mark) answer = put(stream, (Work){.kind = WAIT, .mark = event->mark});
    END
}
API cuLaunchHostFunc(Stream *stream, Kernel kernel, void *data) { /* what stands for a kernel in tests */
    BEGIN_HERE
    answer = put(stream, (Work){.kind = COMPUTE, .kernel = kernel, .data = data});
    END
}

static CUresult copy(void *target, void *source, size_t size, void *on_host, Stream *stream) {
    CUresult answer = SUCCESS;
    Block *pinned = block_of(on_host, 1);
    if (pinned) return put(stream, (Work){.kind = COPY, .target = target, .source = source, .size = size});
    /* Memory that the device cannot reach by itself: the driver copies what it can before it returns. */
    if (on_host == source) {
        void *staged = memcpy(malloc(size), source, size);
        return put(stream, (Work){.kind = COPY, .target = target, .source = staged, .size = size});
    }
    answer = put(stream, (Work){.kind = COPY, .target = target, .source = source, .size = size});
    while (!answer && (stream->first || stream->busy)) pthread_cond_wait(&changed, &lock);
    return answer ? answer : broken;
}
API cuMemcpyHtoDAsync_v2(uint64_t target, void *source, size_t size, Stream *stream) {
    BEGIN_HERE
    answer = copy(host(target), source, size, source, stream);
    END
}
API cuMemcpyDtoHAsync_v2(void *target, uint64_t source, size_t size, Stream *stream) {
    BEGIN_HERE
    answer = copy(target, host(source), size, target, stream);
    END
}

API cuEventCreate(Event **event, unsigned flags) {
    BEGIN_HERE
    (void)flags;
    *event = calloc(1, sizeof **event);
    (*event)->live = 1;
    events++;
    END
}
API cuEventDestroy_v2(Event *event) {
    BEGIN_HERE
    if (!event->live) answer = INVALID_HANDLE;
    else event->live = 0, events--;
    END
}
API cuEventRecord(Event *event, Stream *stream) {
    BEGIN_HERE
    Mark *mark = calloc(1, sizeof *mark);
    if (!event->live) answer = INVALID_HANDLE;
    else if (!(answer = put(stream, (Work){.kind = RECORD, .mark = mark}))) event->mark = mark;
    END
}
API cuEventSynchronize(Event *event) {
    BEGIN_HERE
    while (event->mark && !event->mark->passed) pthread_cond_wait(&changed, &lock);
    answer = broken;
    END
}
API cuEventQuery(Event *event) {
    BEGIN_HERE
    if (event->mark && !event->mark->passed) answer = NOT_READY;
    END
}
API cuEventElapsedTime_v2(float *milliseconds, Event *from, Event *to) {
    BEGIN_HERE
    if (!from->mark || !to->mark) answer = INVALID_HANDLE;
    else if (!from->mark->passed || !to->mark->passed) answer = NOT_READY;
    else *milliseconds = to->mark->at - from->mark->at;
    END
}
API cuEventElapsedTime(float *milliseconds, Event *from, Event *to) {
    return cuEventElapsedTime_v2(milliseconds, from, to);
}

/* -- graphs -------------------------------------------------------------------------------------------------------- */

API cuStreamBeginCapture_v2(Stream *stream, int mode) {
    BEGIN_HERE
    Graph *graph = calloc(1, sizeof *graph);
    graph->live = 1, graph->mode = mode, graph->thread = pthread_self();
    stream->capture = graph;
    graphs++;
    for (int at = 0; at < 16; at++)
        if (!strict_captures[at]) { strict_captures[at] = graph; break; }
    END
}
API cuStreamEndCapture(Stream *stream, Graph **graph) {
    BEGIN_HERE
    *graph = stream->capture;
    stream->capture = NULL;
    for (int at = 0; at < 16; at++)
        if (strict_captures[at] == *graph) strict_captures[at] = NULL;
    if (!*graph) answer = INVALID_VALUE;
    else if ((*graph)->invalid) graphs--, *graph = NULL, answer = CAPTURE_INVALIDATED;
    END
}
API cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long flags) {
    BEGIN_HERE
    (void)flags;
    *executable = calloc(1, sizeof **executable);
    (*executable)->live = 1;
    for (Work *each = graph->first; each; each = each->next)
        append(&(*executable)->first, &(*executable)->last, *each);
    graphs++;
    END
}
API cuGraphLaunch(Graph *executable, Stream *stream) {
    BEGIN_HERE
    if (!executable->live) answer = INVALID_HANDLE;
    for (Work *each = executable->first; each && !answer; each = each->next) answer = put(stream, *each);
    END
}
static CUresult forget(Graph *graph) {
    BEGIN_HERE
    if (!graph || !graph->live) answer = INVALID_HANDLE;
    else graph->live = 0, graphs--;
    END
}
API cuGraphExecDestroy(Graph *executable) { return forget(executable); }
API cuGraphDestroy(Graph *graph) { return forget(graph); }

/* -- what tests ask ------------------------------------------------------------------------------------------------ */

API emulated_delay(int microseconds) { delay_us = microseconds; return SUCCESS; }
API emulated_room(uint64_t bytes) { room = bytes; return SUCCESS; }
API emulated_fail_in(long work) { fails_in = work; return SUCCESS; }
API emulated_refuse_in(long calls) { refuses_in = calls; return SUCCESS; }
/* Wait until nothing is left to do on any stream. */
API emulated_drain(void) {
    pthread_mutex_lock(&lock);
    while (undone) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
/* A device without faults, present or to come. */
API emulated_mend(void) {
    emulated_drain();
    broken = SUCCESS, fails_in = refuses_in = 0;
    return SUCCESS;
}

/* Forget all that is held, as the end of a process does, and mend the device. */
API emulated_forget(void) {
    pthread_mutex_lock(&lock);
    for (Block *each = blocks; each; each = each->next) each->live = 0;
    streams = events = graphs = 0;
    broken = SUCCESS, fails_in = refuses_in = 0;
    for (int device = 0; device < MOST_DEVICES; device++) primary[device].retained = 0;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

/* Where device memory lies, for what stands for a kernel; NULL, and a fault, for memory that is not there any more. */
__attribute__((visibility("default"))) void *emulated_memory(uint64_t address, size_t size) {
    pthread_mutex_lock(&lock);
    Block *block = address & ON_DEVICE ? block_of(host(address), size) : NULL;
    int live = block && block->live;
    if (!live) broken = ILLEGAL_ADDRESS;
    pthread_mutex_unlock(&lock);
    return live ? host(address) : NULL;
}
/* Bytes on the device, bytes that are pinned, streams, events, graphs and contexts that nobody gave back. */
API emulated_held(uint64_t *counts) {
    pthread_mutex_lock(&lock);
    counts[0] = held(0, -1), counts[1] = held(1, -1);
    counts[2] = streams, counts[3] = events, counts[4] = graphs, counts[5] = 0;
    for (int device = 0; device < MOST_DEVICES; device++) counts[5] += primary[device].retained;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}

/* -- symbols by name, as cuda-bindings asks for them ----------------------------------------------------------------- */

API cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, int *status);
#define NAME(name) {#name, (void *)name}
#define NAME_V2(name) {#name, (void *)name##_v2}
static const struct { const char *name; void *function; } names[] = {
    NAME(cuInit), NAME(cuDriverGetVersion), NAME(cuDeviceGetCount), NAME(cuDeviceGet), NAME(cuDeviceGetName),
    NAME(cuDeviceGetAttribute), NAME_V2(cuDeviceTotalMem), NAME(cuGetErrorString), NAME(cuGetErrorName),
    NAME(cuDevicePrimaryCtxRetain), NAME_V2(cuDevicePrimaryCtxRelease), NAME_V2(cuCtxPushCurrent),
    NAME_V2(cuCtxPopCurrent), NAME(cuCtxGetCurrent), NAME(cuCtxSetCurrent), NAME(cuCtxGetDevice),
    NAME(cuCtxGetApiVersion), NAME_V2(cuMemGetInfo), NAME_V2(cuMemAlloc), NAME_V2(cuMemFree), NAME(cuMemHostAlloc),
    NAME_V2(cuMemAllocHost), NAME(cuMemFreeHost), NAME(cuStreamCreate), NAME_V2(cuStreamDestroy),
    NAME(cuStreamSynchronize), NAME(cuStreamQuery), NAME(cuStreamWaitEvent), NAME(cuLaunchHostFunc),
    NAME_V2(cuMemcpyHtoDAsync), NAME_V2(cuMemcpyDtoHAsync), NAME(cuEventCreate), NAME_V2(cuEventDestroy),
    NAME(cuEventRecord), NAME(cuEventSynchronize), NAME(cuEventQuery), NAME(cuEventElapsedTime),
    NAME_V2(cuStreamBeginCapture), NAME(cuStreamEndCapture), NAME(cuGraphInstantiateWithFlags), NAME(cuGraphLaunch),
    NAME(cuGraphExecDestroy), NAME(cuGraphDestroy), NAME_V2(cuGetProcAddress),
};
API cuGetProcAddress_v2(const char *symbol, void **found, int version, uint64_t flags, int *status) {
    (void)version, (void)flags;
    *found = NULL;
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (!strcmp(symbol, names[at].name)) *found = names[at].function;
    if (status) *status = *found ? 0 : 1; /* CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND */
    return *found ? SUCCESS : NOT_FOUND;
}
API cuGetProcAddress(const char *symbol, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, found, version, flags, NULL);
}
