/* Stands in for NVIDIA's library in tests: two GPUs, of which the second tells little. INIT is what loading it returns. */

#include <stdio.h>
#include <string.h>

#ifndef INIT
#define INIT 0
#endif

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilisation;

static int gpus[2];

static int is_taciturn(void *gpu) { return gpu == &gpus[1]; }

int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) { snprintf(to, length, "580.65.06"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    if (index > 1) return INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **gpu) {
    if (strcmp(address, "0000:3b:00.0")) return NOT_FOUND;
    *gpu = &gpus[0];
    return SUCCESS;
}

int nvmlDeviceGetName(void *gpu, char *to, unsigned length) {
    snprintf(to, length, "%s", is_taciturn(gpu) ? "NVIDIA T400" : "NVIDIA H100 80GB HBM3");
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *gpu, Memory *memory) {
    if (memory->version != (sizeof(Memory) | 2u << 24)) return INVALID_ARGUMENT;
    memory->total = (is_taciturn(gpu) ? 4096ull : 81559ull) << 20;
    memory->used = 2150ull << 20;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *gpu, Utilisation *rates) {
    if (is_taciturn(gpu)) return NOT_SUPPORTED;
    rates->gpu = 87;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned *degrees) {
    (void)gpu;
    *degrees = 61;
    return sensor == 0 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) {
    *milliwatts = 319600;
    return is_taciturn(gpu) ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(void *gpu, unsigned *milliwatts) {
    *milliwatts = 700000;
    return is_taciturn(gpu) ? NOT_SUPPORTED : SUCCESS;
}
