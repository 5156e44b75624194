// Enough of the CUDA driver and of NVRTC to run the project's kernels on a CPU, thread by thread: what a machine without a GPU can
// test of the path to one. Built as one shared library that stands for libcuda, libnvrtc, libcublas and libcublasLt; see run.sh.
//
// `nvrtcCompileProgram` has the C++ compiler make a library of the kernels with the definitions below (KERNEL) before them. A block
// is as many fibers as it has threads, which run in turn between barriers; blocks run one after the other. Memory of the "GPU" is
// memory of the process with a guard behind it, filled with NaN where a kernel should not read before it writes. The matrix
// instruction is done by the lane that comes last.

#include <dlfcn.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <unistd.h>
#include <vector>

static const char *KERNEL = R"KERNEL(
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>
#define EMULATED
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static
#define __restrict__
struct Dim { unsigned x, y, z; };
static Dim blockIdx, gridDim, blockDim, threadIdx;
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(8) int2 { int x, y; };
struct alignas(8) float2 { float x, y; };
struct alignas(2) uchar2 { unsigned char x, y; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
static uchar2 make_uchar2(int x, int y) { return {(unsigned char)x, (unsigned char)y}; }
static int2 make_int2(int x, int y) { return {x, y}; }
static float2 make_float2(float x, float y) { return {x, y}; }
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {
const size_t STACK = 64 << 10;
struct Fiber { void *stack; bool done; };
static std::vector<Fiber> fibers;
static std::vector<char> stacks;
static void *home;
static unsigned current;
static void (*entry)(void **);
static void **arguments;

// Puts what a function must keep on the stack, leaves it at `from`, and goes on with the stack `to`.
extern "C" __attribute__((naked, noinline)) void emulator_switch(void **from, void *to) {
    asm("push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15;"
        "mov %rsp, (%rdi); mov %rsi, %rsp;"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");
}
static void wait() { emulator_switch(&fibers[current].stack, home); }
static void body() {
    entry(arguments);
    fibers[current].done = true;
    wait();
}
// Threads that wait for each other look again in each round; a round in which nothing happened is the last.
static unsigned barrier, at_barrier, alive, events;
static void block(unsigned threads) {
    fibers.assign(threads, Fiber());
    if (stacks.size() < threads * STACK) stacks.resize(threads * STACK);
    for (unsigned i = 0; i < threads; i++) {
        // As if `body` had been called from nowhere and switched away at once.
        void **top = (void **)(((uintptr_t)&stacks[(i + 1) * STACK] & ~(uintptr_t)15) - 16);
        *top = (void *)body;
        fibers[i].stack = top - 6;
    }
    alive = threads, at_barrier = 0;
    while (alive) {
        const unsigned before = events;
        for (current = 0; current < threads; current++) {
            if (fibers[current].done) continue;
            threadIdx = {current, 0, 0};
            emulator_switch(&home, fibers[current].stack);
            if (fibers[current].done) alive--, events++;
        }
        if (events == before) { fprintf(stderr, "emulator: threads wait for some that ended or are elsewhere\n"); abort(); }
    }
}
// What the lanes of a warp do together: the one that comes last does it for all. What the others gave lies on their stacks, which they
// leave as they are until they are run again.
struct Lane { const float *a, *b; float *d; };
static Lane lanes[1024];
static unsigned arrived[32], rounds[32];
template <class All> static void together(const Lane &mine, const All &all) {
    const unsigned warp = current / 32, now = rounds[warp];
    lanes[current] = mine;
    events++;
    if (++arrived[warp] == 32) {
        arrived[warp] = 0, rounds[warp]++;
        all(lanes + warp * 32);
    }
    while (now == rounds[warp]) wait();
}
}

static void __syncthreads() {
    const unsigned now = emulator::barrier;
    emulator::events++;
    if (++emulator::at_barrier == emulator::alive) emulator::at_barrier = 0, emulator::barrier++;
    while (now == emulator::barrier) emulator::wait();
}
static int min(int a, int b) { return a < b ? a : b; }
static float tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits >> 23 & 255) == 255) return x;
    bits += 0x1000; // half of the last place kept, away from zero
    bits &= ~0x1fffu;
    memcpy(&x, &bits, 4);
    return x;
}
static void multiply(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
    emulator::together({a, b, d}, [](const emulator::Lane *all) {
        float left[16][8], right[8][8];
        for (int l = 0; l < 32; l++) {
            const int group = l / 4, quarter = l % 4;
            for (int v = 0; v < 4; v++) left[group + v % 2 * 8][quarter + v / 2 * 4] = tf32(all[l].a[v]);
            for (int v = 0; v < 2; v++) right[quarter + v * 4][group] = tf32(all[l].b[v]);
        }
        for (int l = 0; l < 32; l++)
            for (int v = 0; v < 4; v++) {
                const int row = l / 4 + v / 2 * 8, column = l % 4 * 2 + v % 2;
                float sum = all[l].d[v];
                for (int k = 0; k < 8; k++) sum += left[row][k] * right[k][column];
                all[l].d[v] = sum;
            }
    });
}
static void load_matrices(float (&d)[4], const float *row) {
    if ((uintptr_t)row % 16) { fprintf(stderr, "emulator: a row of a matrix does not start at a multiple of 16 bytes\n"); abort(); }
    emulator::together({row, nullptr, d}, [](const emulator::Lane *all) {
        for (int l = 0; l < 32; l++)
            for (int v = 0; v < 4; v++) all[l].d[v] = all[v * 8 + l / 4].a[l % 4];
    });
}
extern "C" void emulator_run(void (*entry)(void **), void **arguments, const unsigned *grid, unsigned threads) {
    emulator::entry = entry;
    emulator::arguments = arguments;
    blockDim = {threads, 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                emulator::block(threads);
            }
}
)KERNEL";

typedef unsigned long long Pointer;
extern "C" {

// ---- Device, memory, streams ----

int cuInit(unsigned) { return 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int) { return *device = 0, 0; }
int cuDeviceGetName(char *name, int len, int) { return snprintf(name, len, "emulated GPU"), 0; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    // Compute capability 9.0; shared memory of a block; memory pools.
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 97 ? 227 << 10 : 1;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = (void *)1, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void *) { return 0; }
int cuCtxGetCurrent(void **context) { return *context = (void *)1, 0; }
int cuEventCreate(void **event, unsigned) { return *event = (void *)1, 0; }
int cuEventDestroy_v2(void *) { return 0; }
int cuEventRecord(void *, void *) { return 0; }
int cuStreamWaitEvent(void *, void *, unsigned) { return 0; }
int cuStreamCreate(void **stream, unsigned) { return *stream = (void *)1, 0; }
int cuStreamDestroy_v2(void *) { return 0; }
int cuStreamSynchronize(void *) { return 0; }

// One thing at a time, whichever thread asks for it: templates' shared memory is one even in different libraries.
static std::recursive_mutex turn;
typedef std::lock_guard<std::recursive_mutex> Turn;

static const size_t GUARD = 256;
static std::map<Pointer, size_t> memory;
int cuMemAlloc_v2(Pointer *at, size_t bytes) {
    Turn mine(turn);
    const size_t whole = (bytes + 255) / 256 * 256;
    char *p = (char *)aligned_alloc(256, whole + GUARD);
    if (!p) return 2;
    memset(p, 0xff, whole + GUARD); // NaN
    memory[*at = (Pointer)p] = whole;
    return 0;
}
int cuMemFree_v2(Pointer at) {
    Turn mine(turn);
    auto found = memory.find(at);
    if (found == memory.end()) return 1;
    const unsigned char *guard = (const unsigned char *)at + found->second;
    for (size_t i = 0; i < GUARD; i++)
        if (guard[i] != 0xff) { fprintf(stderr, "emulator: written behind a buffer of %zu bytes\n", found->second); abort(); }
    memory.erase(found);
    free((void *)at);
    return 0;
}
int cuMemAllocAsync(Pointer *at, size_t bytes, void *) { return cuMemAlloc_v2(at, bytes); }
int cuMemFreeAsync(Pointer at, void *) { return cuMemFree_v2(at); }
int cuMemsetD8Async(Pointer at, unsigned char value, size_t bytes, void *) { return memset((void *)at, value, bytes), 0; }
int cuMemsetD8_v2(Pointer at, unsigned char value, size_t bytes) { return memset((void *)at, value, bytes), 0; }
int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, void *) { return memcpy((void *)to, from, bytes), 0; }
int cuMemcpyHtoD_v2(Pointer to, const void *from, size_t bytes) { return memcpy((void *)to, from, bytes), 0; }
int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, void *) { return memcpy(to, (void *)from, bytes), 0; }
int cuMemcpyDtoH_v2(void *to, Pointer from, size_t bytes) { return memcpy(to, (void *)from, bytes), 0; }
int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void *) { return memcpy((void *)to, (void *)from, bytes), 0; }
int cuMemcpyDtoD_v2(Pointer to, Pointer from, size_t bytes) { return memcpy((void *)to, (void *)from, bytes), 0; }
int cuGetErrorName(int, const char **name) { return *name = "EMULATED", 0; }
int cuGetErrorString(int, const char **text) { return *text = "the emulator has no such thing", 0; }
// The composed network's kernels are not emulated; whoever launches one is told so.

// ---- Modules and launches ----

struct Module { void *library; void (*run)(void (*)(void **), void **, const unsigned *, unsigned); };
struct Kernel { void (*entry)(void **); Module *module; int parameters; };
struct Launch { Kernel *kernel; std::vector<Pointer> arguments; unsigned grid[3], threads; };
typedef std::vector<Launch> Graph;
static thread_local Graph *recording;

int cuModuleLoadData(Module **module, const void *image) {
    // The image is the library's path, as nvrtcGetPTX gave it.
    void *library = dlopen((const char *)image, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 200;
    *module = new Module{library, (decltype(Module::run))dlsym(library, "emulator_run")};
    return 0;
}
int cuModuleUnload(Module *) { return 0; }
int cuFuncSetAttribute(struct Kernel *, int, int bytes) { return bytes > 227 << 10; }
int cuModuleGetFunction(Kernel **kernel, Module *module, const char *name) {
    auto entry = (void (*)(void **))dlsym(module->library, (std::string("emulator_") + name).c_str());
    auto count = (int *)dlsym(module->library, (std::string("emulator_count_") + name).c_str());
    if (!entry || !count) return 500;
    *kernel = new Kernel{entry, module, *count};
    return 0;
}
static void run(Launch &launch) {
    Turn mine(turn);
    std::vector<void *> pointers;
    for (Pointer &argument : launch.arguments) pointers.push_back(&argument);
    launch.kernel->module->run(launch.kernel->entry, pointers.data(), launch.grid, launch.threads);
}
int cuLaunchKernel(Kernel *kernel, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned, void *,
                   void **parameters, void **) {
    if (!x || !y || !z || !threads || threads > 1024 || y > 65535 || z > 65535) return 1;
    Launch launch = {kernel, {}, {x, y, z}, threads};
    for (int i = 0; i < kernel->parameters; i++) launch.arguments.push_back(*(Pointer *)parameters[i]);
    if (recording) recording->push_back(launch);
    else run(launch);
    return 0;
}
int cuStreamBeginCapture_v2(void *, int) { return recording = new Graph, 0; }
int cuStreamEndCapture(void *, Graph **graph) { return *graph = recording, recording = nullptr, 0; }
int cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long) { return *executable = new Graph(*graph), 0; }
int cuGraphDestroy(Graph *graph) { return delete graph, 0; }
int cuGraphExecDestroy(Graph *graph) { return delete graph, 0; }
int cuGraphLaunch(Graph *graph, void *) {
    for (Launch &launch : *graph) run(launch);
    return 0;
}

// ---- NVRTC ----

struct Source { std::string text, library, log; };
int nvrtcCreateProgram(Source **source, const char *text, const char *, int, const char *const *, const char *const *) {
    return *source = new Source{text, "", ""}, 0;
}
int nvrtcDestroyProgram(Source **source) { return delete *source, 0; }
int nvrtcCompileProgram(Source *source, int, const char *const *) {
    char base[] = "/tmp/emulated-kernels-XXXXXX";
    if (!mkdtemp(base)) return 1;
    const std::string folder = base, file = folder + "/kernels.cpp", log = folder + "/log";
    const char *keep = getenv("EMULATOR_KEEP");
    if (keep && *keep) std::ofstream(keep + folder.substr(4) + ".cu") << source->text;
    std::string code = KERNEL + source->text, wrappers;
    // Each kernel gets a function that unpacks its arguments, all of which have eight bytes.
    const std::string mark = "extern \"C\" __global__ void";
    for (size_t at = source->text.find(mark); at != std::string::npos; at = source->text.find(mark, at + 1)) {
        const size_t end = source->text.find('{', at), close = source->text.rfind(')', end);
        size_t open = close, depth = 0;
        do {
            if (source->text[open] == ')') depth++;
            if (source->text[open] == '(') depth--;
            open--;
        } while (depth);
        size_t first = source->text.find_last_of(" \n", open);
        const std::string name = source->text.substr(first + 1, open - first);
        std::string list = source->text.substr(open + 2, close - open - 2), call;
        int count = 0;
        for (size_t begin = 0; begin < list.size() + 1; count++) {
            size_t comma = list.find(',', begin);
            if (comma == std::string::npos) comma = list.size();
            std::string parameter = list.substr(begin, comma - begin);
            const std::string type = parameter.substr(0, parameter.find_last_of("* ") + 1);
            call += (count ? ", *(" : "*(") + type + " *)arguments[" + std::to_string(count) + "]";
            begin = comma + 1;
        }
        wrappers += "extern \"C\" int emulator_count_" + name + " = " + std::to_string(count) + ";\n";
        wrappers += "extern \"C\" void emulator_" + name + "(void **arguments) { " + name + "(" + call + "); }\n";
    }
    std::ofstream(file) << code << "\n" << wrappers;
    source->library = folder + "/kernels.so";
    const char *compiler = getenv("CXX");
    const std::string command = std::string(compiler ? compiler : "c++") + " -std=c++17 -O2 -w -ffp-contract=off -shared -fPIC -o " +
                                source->library + " " + file + " >" + log + " 2>&1";
    const int code_of_compiler = system(command.c_str());
    std::ifstream in(log);
    source->log.assign(std::istreambuf_iterator<char>(in), {});
    remove(file.c_str());
    if (code_of_compiler) fprintf(stderr, "emulator: %s\n%.4000s\n", command.c_str(), source->log.c_str());
    return code_of_compiler ? 6 : 0;
}
int nvrtcGetPTXSize(Source *source, size_t *size) { return *size = source->library.size() + 1, 0; }
int nvrtcGetPTX(Source *source, char *ptx) { return strcpy(ptx, source->library.c_str()), 0; }
int nvrtcGetProgramLogSize(Source *source, size_t *size) { return *size = source->log.size() + 1, 0; }
int nvrtcGetProgramLog(Source *source, char *log) { return strcpy(log, source->log.c_str()), 0; }

// ---- cuBLAS: dfdx makes a handle and does not use it here ----

int cublasCreate_v2(void **handle) { return *handle = (void *)1, 0; }
int cublasDestroy_v2(void *) { return 0; }
int cublasSetStream_v2(void *, void *) { return 0; }
}
