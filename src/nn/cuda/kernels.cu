// Kernels of a network on an NVIDIA GPU, compiled at start for one architecture: shapes are template parameters, and the program
// adds one `extern "C"` function for each step of its network below this file.
//
// Convolutions and dense layers are matrix products whose operands are gathered on the way into shared memory (implicit GEMM),
// multiplied by the tensor cores in TF32 and summed in float. Bias, rectifier, dropout, 2x2 pooling and the place of the maximum
// are done before anything is written; what the pool drops never reaches memory. Maps are `[sample, height, width, channel]`,
// convolution weights `[filter, kernel row, kernel column, channel]`, dense weights `[unit, input]`.
//
// Nothing here adds with atomics: sums over blocks go through partial sums in a fixed order, so that a run repeats to the bit.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned long long u64;

// One training step or evaluation; the program's `DeviceStep` has the same layout.
struct Step {
    const u8 *pixels;         // images of 784 grey values
    const unsigned *rows;     // of each sample, which image
    const u8 *labels;         // of each sample
    const float *lessons;     // of each sample, the probability that a teacher gives each class; or 0
    u8 *predictions;          // of each sample, the class with the largest logit
    float *losses;            // of each sample
    float *result;            // mean loss, and 1 if a gradient was not finite
    float *squares;           // if it is wanted, how large the step is: for each block of the update the sums of the squares of
                              // gradient, parameter and change
    u64 dropout;              // names the dropout masks of the step
    unsigned count;           // samples
    unsigned training;        // 0 or 1
    float dropout_rate;       // of layers that have none of their own
    float smoothing;          // share of the target spread over all classes
    float distill;            // share of the loss that is the teacher's
    float temperature;        // what the logits are divided by there
    float rate;               // learning rate
    float decay;              // weight decay
    float corrections[2];     // Adam's 1 / (1 - beta^t)
    float momentum;           // of SGD
    float keep;               // share of the moving average of the weights that stays
    unsigned optimizer;       // ADAM and so on
    unsigned nesterov;        // 0 or 1
};

// One parameter; the program's `DeviceTensor` has the same layout.
struct Tensor {
    float *value, *first, *second; // the parameter and its moments
    float *average;                // its moving average, or 0
    const float *partial;          // `[split]` partial sums of the gradient, `stride` apart
    float *gradient;
    unsigned len, splits, stride, decays;
    // The work is `parts` for each sample, of which a share gets `group` at a time: what is beyond the batch has no sums; 0 if all have.
    unsigned group, parts;
};

enum { ADAM, ADAMW, SGD, RMSPROP };
enum { NOTHING, RELU, RELU_POOL };

const int CLASSES = 10;
const int PIXELS = 784;
const int DEAD = 4; // in place of a maximum's place: the rectifier or dropout made it zero

#ifndef EMULATED
// To the nearest number with TF32's 10 bits of mantissa.
__device__ __forceinline__ float tf32(float x) {
#if __CUDA_ARCH__ >= 800
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#else
    return x;
#endif
}

// d += a * b for a 16x8 and an 8x8 matrix, spread over a warp as PTX defines it for `mma.m16n8k8`.
__device__ __forceinline__ void multiply(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#else
    // Turing's tensor cores have no TF32: the same sums by exchange within the warp.
    const int lane = threadIdx.x % 32, row = lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const int from = row * 4 + k % 4;
        const float low = __shfl_sync(~0u, a[k / 4 * 2], from), high = __shfl_sync(~0u, a[k / 4 * 2 + 1], from);
        const float left = __shfl_sync(~0u, b[k / 4], column * 4 + k % 4);
        const float right = __shfl_sync(~0u, b[k / 4], column * 4 + 4 + k % 4);
        d[0] += low * left, d[1] += low * right, d[2] += high * left, d[3] += high * right;
    }
#endif
}

// Four 8x4 matrices from shared memory: lane `l` says where row `l % 8` of matrix `l / 8` starts, a multiple of 16 bytes, and gets of
// each matrix the value in row `l / 4` and column `l % 4`.
__device__ __forceinline__ void load_matrices(float (&d)[4], const float *row) {
    unsigned bits[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
#pragma unroll
    for (int v = 0; v < 4; v++) d[v] = __uint_as_float(bits[v]);
}
#endif

// ---- Random numbers: the program's counter-based streams ----

__device__ __forceinline__ u64 mix(u64 value) {
    u64 z = value + 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

// What dropout multiplies the value at `index` of the batch by: 0, or 1 / (1 - rate).
__device__ __forceinline__ float dropout_factor(u64 key, float rate, int index) {
    const u64 bits = mix(key ^ (u64)index * 0xd1342543de82ef95ull);
    return (float)(bits >> 40) / 16777216.0f < rate ? 0.0f : 1.0f / (1.0f - rate);
}

// The rate of a dropout layer in this step: its own, or the step's if it is negative.
__device__ __forceinline__ float dropout_rate(const Step *step, float own) {
    return step->training ? own < 0 ? step->dropout_rate : own : 0.0f;
}

// ---- Four values at a time ----

__device__ __forceinline__ float4 zero4() { return make_float4(0, 0, 0, 0); }

// Values `at` to `at + 3` of a row of `len`; zeros beyond its end. Rows of a multiple of four start at whole vectors.
template <int LEN> __device__ __forceinline__ float4 quad(const float *row, int at) {
    if (LEN % 4 == 0) return at < LEN ? *(const float4 *)(row + at) : zero4();
    float4 v = zero4();
    if (at < LEN) v.x = row[at];
    if (at + 1 < LEN) v.y = row[at + 1];
    if (at + 2 < LEN) v.z = row[at + 2];
    if (at + 3 < LEN) v.w = row[at + 3];
    return v;
}

// ---- Shapes ----

// A convolution, or a dense layer as the convolution of one position. `AFTER` is what is fused with it.
template <int H_, int W_, int C_, int F_, int KH_, int KW_, int S_, int P_, int AFTER_> struct Conv {
    enum {
        H = H_, W = W_, C = C_, F = F_, KH = KH_, KW = KW_, S = S_, P = P_, AFTER = AFTER_,
        OH = (H + 2 * P - KH) / S + 1, OW = (W + 2 * P - KW) / S + 1,
        PH = AFTER == RELU_POOL ? OH / 2 : OH, PW = AFTER == RELU_POOL ? OW / 2 : OW, // what is stored
        ROWS = AFTER == RELU_POOL ? 4 * PH * PW : OH * OW,                             // positions computed, a sample
        TAPS = KH * KW, DEPTH = TAPS * C
    };
};

// A position of a convolution's output.
struct Place {
    int sample, y, x;
};

// Where row `m` of the product lies. With a pool, 32 rows are the four positions of 8 windows: first all the upper left ones,
// and so on, because a thread of `multiply` holds rows 8 apart.
template <class T> __device__ __forceinline__ Place place(int m) {
    if (T::AFTER == RELU_POOL) {
        const int window = m / 32 * 8 + m % 8, corner = m % 32 / 8;
        const int sample = window / (T::PH * T::PW), cell = window % (T::PH * T::PW);
        return {sample, cell / T::PW * 2 + corner / 2, cell % T::PW * 2 + corner % 2};
    }
    const int cell = m % (T::OH * T::OW);
    return {m / (T::OH * T::OW), cell / T::OW, cell % T::OW};
}

// Rows of the product for `count` samples.
template <class T> __device__ __forceinline__ int rows(int count) {
    return T::AFTER == RELU_POOL ? (count * T::PH * T::PW + 7) / 8 * 32 : count * T::OH * T::OW;
}

// ---- What goes into the products ----

// Where values come from: a map of floats, or the grey values of images.
struct Floats {
    const float *map;
    template <class T> __device__ __forceinline__ float at(int sample, int y, int x, int c) const {
        return map[((sample * T::H + y) * T::W + x) * T::C + c];
    }
    template <class T> __device__ __forceinline__ float4 at4(int sample, int y, int x, int c) const {
        return *(const float4 *)(map + ((sample * T::H + y) * T::W + x) * T::C + c);
    }
};
struct Grey {
    const Step *step;
    template <class T> __device__ __forceinline__ float at(int sample, int y, int x, int c) const {
        return step->pixels[(u64)step->rows[sample] * PIXELS + (y * T::W + x) * T::C + c] * (1.0f / 255.0f);
    }
    template <class T> __device__ __forceinline__ float4 at4(int sample, int y, int x, int c) const {
        return make_float4(at<T>(sample, y, x, c), at<T>(sample, y, x, c + 1), at<T>(sample, y, x, c + 2),
                           at<T>(sample, y, x, c + 3));
    }
};

// The value under entry `k` (kernel row, kernel column, channel) of the window at `place`.
template <class T, class X> __device__ __forceinline__ float window_value(const X &x, Place place, int k) {
    const int y = place.y * T::S - T::P + k / T::C / T::KW, column = place.x * T::S - T::P + k / T::C % T::KW;
    const bool inside = k < T::DEPTH && (T::P == 0 || (y >= 0 && y < T::H && column >= 0 && column < T::W));
    return inside ? x.template at<T>(place.sample, y, column, k % T::C) : 0.0f;
}
template <class T, class X> __device__ __forceinline__ float4 window_quad(const X &x, Place place, int k) {
    if (T::C % 4 == 0) {
        const int y = place.y * T::S - T::P + k / T::C / T::KW, column = place.x * T::S - T::P + k / T::C % T::KW;
        const bool inside = k < T::DEPTH && (T::P == 0 || (y >= 0 && y < T::H && column >= 0 && column < T::W));
        return inside ? x.template at4<T>(place.sample, y, column, k % T::C) : zero4();
    }
    return make_float4(window_value<T>(x, place, k), window_value<T>(x, place, k + 1), window_value<T>(x, place, k + 2),
                       window_value<T>(x, place, k + 3));
}

// The gradient of a convolution's sum, before bias and rectifier, from the gradient `slope` of what was stored of it.
template <class T> struct Slopes {
    const float *slope, *value;
    const u8 *maximum;
    float scale; // of dropout

    // What the rectifier lets through to where `value` is positive.
    __device__ __forceinline__ float passed(float slope, float value) const { return value > 0.0f ? slope * scale : 0.0f; }
    __device__ __forceinline__ float4 passed(float4 slope, float4 value) const {
        return make_float4(passed(slope.x, value.x), passed(slope.y, value.y), passed(slope.z, value.z), passed(slope.w, value.w));
    }

    // Of filters `f` to `f + 3` at a place inside the output.
    __device__ __forceinline__ float4 at(int sample, int y, int x, int f) const {
        if (T::AFTER == RELU_POOL) {
            if (y >= 2 * T::PH || x >= 2 * T::PW) return zero4();
            const int cell = ((sample * T::PH + y / 2) * T::PW + x / 2) * T::F, corner = y % 2 * 2 + x % 2;
            const float4 s = quad<T::F>(slope + cell, f);
            if (T::F % 4 == 0) {
                if (f >= T::F) return zero4();
                const uchar4 where = *(const uchar4 *)(maximum + cell + f);
                return make_float4(where.x == corner ? s.x : 0.0f, where.y == corner ? s.y : 0.0f,
                                   where.z == corner ? s.z : 0.0f, where.w == corner ? s.w : 0.0f);
            }
            return make_float4(f < T::F && maximum[cell + f] == corner ? s.x : 0.0f,
                               f + 1 < T::F && maximum[cell + f + 1] == corner ? s.y : 0.0f,
                               f + 2 < T::F && maximum[cell + f + 2] == corner ? s.z : 0.0f,
                               f + 3 < T::F && maximum[cell + f + 3] == corner ? s.w : 0.0f);
        }
        const int cell = ((sample * T::OH + y) * T::OW + x) * T::F;
        const float4 s = quad<T::F>(slope + cell, f);
        return T::AFTER == NOTHING ? s : passed(s, quad<T::F>(value + cell, f));
    }
};

// The sources of a product's operands. `line` is a row of the left operand or a column of the right one.

// Forward, left: windows of the input, along `k`.
template <class T, class X> struct Windows {
    X x;
    int count;
    typedef Place Line;
    __device__ __forceinline__ Line line(int m) const { return place<T>(m); }
    __device__ __forceinline__ float4 along(const Line &line, int k) const {
        return line.sample < count ? window_quad<T>(x, line, k) : zero4();
    }
};

// Forward, right: weights, along `k`.
template <class T> struct Weights {
    const float *weight;
    typedef int Line;
    __device__ __forceinline__ Line line(int n) const { return n; }
    __device__ __forceinline__ float4 along(int n, int k) const {
        return n < T::F ? quad<T::DEPTH>(weight + n * T::DEPTH, k) : zero4();
    }
};

// Gradient of the input, left: for a position of the input, the slopes of the outputs it reaches, along `k` (kernel row, kernel
// column, filter).
template <class T> struct Reached {
    Slopes<T> slopes;
    int count;
    typedef Place Line;
    enum { F4 = (T::F + 3) / 4 * 4, DEPTH = T::TAPS * F4 };
    __device__ __forceinline__ Line line(int m) const {
        return {m / (T::H * T::W), m / T::W % T::H, m % T::W};
    }
    __device__ __forceinline__ float4 along(const Line &line, int k) const {
        const int tap = k / F4, y = line.y + T::P - tap / T::KW, x = line.x + T::P - tap % T::KW;
        const bool inside = line.sample < count && k < DEPTH && y >= 0 && x >= 0 && y % T::S == 0 && x % T::S == 0 &&
                            y / T::S < T::OH && x / T::S < T::OW;
        return inside ? slopes.at(line.sample, y / T::S, x / T::S, k % F4) : zero4();
    }
};

// Gradient of the input, right: weights, across channels.
template <class T> struct Transposed {
    const float *weight;
    __device__ __forceinline__ float4 across(int k, int n) const {
        const int tap = k / Reached<T>::F4, filter = k % Reached<T>::F4;
        if (tap >= T::TAPS || filter >= T::F) return zero4();
        return quad<T::C>(weight + (filter * T::TAPS + tap) * T::C, n);
    }
};

// Gradient of the weights, left: slopes at position `k`, across filters.
template <class T> struct SlopesAcross {
    Slopes<T> slopes;
    int count;
    __device__ __forceinline__ float4 across(int k, int m) const {
        const Place at = place<T>(k);
        return at.sample < count ? slopes.at(at.sample, at.y, at.x, m) : zero4();
    }
};

// Gradient of the weights, right: the window at position `k`, across its entries, and a one behind it for the bias.
template <class T, class X> struct WindowsAcross {
    X x;
    int count;
    __device__ __forceinline__ float4 across(int k, int n) const {
        const Place at = place<T>(k);
        if (at.sample >= count) return zero4();
        const float4 v = n < T::DEPTH ? window_quad<T>(x, at, n) : zero4();
        const int ones = T::DEPTH - n;
        return make_float4(ones == 0 ? 1.0f : v.x, ones == 1 ? 1.0f : v.y, ones == 2 ? 1.0f : v.z, ones == 3 ? 1.0f : v.w);
    }
};

// ---- Products ----

// With half of the last place of TF32 added, so that a product, which cuts off the rest, rounds it: half the instructions of `tf32`.
// What is not a number stays it.
__device__ __forceinline__ float carried(float x) {
#if defined(EMULATED) || __CUDA_ARCH__ < 800
    return tf32(x);
#else
    return x == x ? __uint_as_float(__float_as_uint(x) + 0x1000) : x;
#endif
}

// As it goes into a product: rounded once, on the way into shared memory, unless all digits are wanted.
__device__ __forceinline__ float4 rounded(float4 v) {
#ifdef PRECISE
    return v;
#else
    return make_float4(carried(v.x), carried(v.y), carried(v.z), carried(v.w));
#endif
}

// sums += x * y for all pairs of fragments.
template <int MT, int NT>
__device__ __forceinline__ void multiply_all(float (&sums)[MT][NT][4], float (&x)[MT][4], float (&y)[NT][2]) {
#if defined(PRECISE) && (defined(EMULATED) || __CUDA_ARCH__ >= 800)
    // Three products of halves give nearly all of a float's bits.
    float x_low[MT][4], y_low[NT][2];
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int v = 0; v < 4; v++) {
            const float high = tf32(x[i][v]);
            x_low[i][v] = tf32(x[i][v] - high), x[i][v] = high;
        }
#pragma unroll
    for (int j = 0; j < NT; j++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            const float high = tf32(y[j][v]);
            y_low[j][v] = tf32(y[j][v] - high), y[j][v] = high;
        }
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++) {
            multiply(sums[i][j], x_low[i], y[j]);
            multiply(sums[i][j], x[i], y_low[j]);
        }
#endif
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++) multiply(sums[i][j], x[i], y[j]);
}

// Fragments from a tile whose values lie along `k`, its lines `STRIDE` apart: an odd number of quads, so that eight lines are in
// different banks. Left operand: a lane's line of 16 and its half of the eight `k`.
template <int STRIDE> __device__ __forceinline__ int left_lane() {
    return threadIdx.x % 16 * STRIDE + threadIdx.x / 16 % 2 * 4;
}

// Right operand, `NT` times 8 lines from `tile` on.
template <int NT, int STRIDE> __device__ __forceinline__ void load_right(float (&y)[NT][2], const float *tile) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j + 1 < NT; j += 2) {
        float two[4];
        load_matrices(two, tile + (j * 8 + lane / 16 * 8 + lane % 8) * STRIDE + lane / 8 % 2 * 4);
        y[j][0] = two[0], y[j][1] = two[1], y[j + 1][0] = two[2], y[j + 1][1] = two[3];
    }
    if (NT % 2 == 1)
#pragma unroll
        for (int v = 0; v < 2; v++) y[NT - 1][v] = tile[((NT - 1) * 8 + lane / 4) * STRIDE + lane % 4 + v * 4];
}

template <int MT, int NT> __device__ __forceinline__ void clear(float (&sums)[MT][NT][4]) {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
            for (int v = 0; v < 4; v++) sums[i][j][v] = 0.0f;
}

// Lays a tile of an operand out in shared memory, four values for each thread and round. `ALONG`: the source gives values along
// `k`, and the tile is `[line, k]`; else across the lines, and it is `[k, line]`. The strides keep the threads of a warp that
// read a fragment in different banks.
template <int LINES, int BK, int THREADS, bool ALONG, class Source> struct Stage;

template <int LINES, int BK, int THREADS, class Source> struct Stage<LINES, BK, THREADS, true, Source> {
    enum { ROUNDS = (LINES * BK / 4 + THREADS - 1) / THREADS, STRIDE = BK + 4, SIZE = LINES * STRIDE };
    Source source;
    typename Source::Line lines[ROUNDS];
    float4 held[ROUNDS];

    __device__ __forceinline__ Stage(const Source &source, int first) : source(source) {
#pragma unroll
        for (int i = 0; i < ROUNDS; i++) lines[i] = source.line(first + (threadIdx.x + i * THREADS) / (BK / 4));
    }
    __device__ __forceinline__ void fetch(int k) {
#pragma unroll
        for (int i = 0; i < ROUNDS; i++) held[i] = source.along(lines[i], k + (threadIdx.x + i * THREADS) % (BK / 4) * 4);
    }
    __device__ __forceinline__ void store(float *tile) {
#pragma unroll
        for (int i = 0; i < ROUNDS; i++) {
            const int at = threadIdx.x + i * THREADS;
            if (LINES * BK / 4 % THREADS == 0 || at < LINES * BK / 4)
                *(float4 *)(tile + at / (BK / 4) * STRIDE + at % (BK / 4) * 4) = rounded(held[i]);
        }
    }
    template <int MT> static __device__ __forceinline__ void left(float (&x)[MT][4], const float *tile, int line, int k) {
#pragma unroll
        for (int i = 0; i < MT; i++) load_matrices(x[i], tile + (line + i * 16) * STRIDE + k + left_lane<STRIDE>());
    }
    template <int NT> static __device__ __forceinline__ void right(float (&y)[NT][2], const float *tile, int line, int k) {
        load_right<NT, STRIDE>(y, tile + line * STRIDE + k);
    }
};

template <int LINES, int BK, int THREADS, class Source> struct Stage<LINES, BK, THREADS, false, Source> {
    enum { ROUNDS = (LINES * BK / 4 + THREADS - 1) / THREADS, STRIDE = LINES + 8, SIZE = BK * STRIDE };
    Source source;
    int first;
    float4 held[ROUNDS];

    __device__ __forceinline__ Stage(const Source &source, int first) : source(source), first(first) {}
    __device__ __forceinline__ void fetch(int k) {
#pragma unroll
        for (int i = 0; i < ROUNDS; i++) {
            const int at = threadIdx.x + i * THREADS;
            held[i] = source.across(k + at / (LINES / 4), first + at % (LINES / 4) * 4);
        }
    }
    __device__ __forceinline__ void store(float *tile) {
#pragma unroll
        for (int i = 0; i < ROUNDS; i++) {
            const int at = threadIdx.x + i * THREADS;
            if (LINES * BK / 4 % THREADS == 0 || at < LINES * BK / 4)
                *(float4 *)(tile + at / (LINES / 4) * STRIDE + at % (LINES / 4) * 4) = rounded(held[i]);
        }
    }
    template <int MT> static __device__ __forceinline__ void left(float (&x)[MT][4], const float *tile, int line, int k) {
        const float *from = tile + (k + threadIdx.x % 4) * STRIDE + line + threadIdx.x % 32 / 4;
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int v = 0; v < 4; v++) x[i][v] = from[v / 2 * 4 * STRIDE + i * 16 + v % 2 * 8];
    }
    template <int NT> static __device__ __forceinline__ void right(float (&y)[NT][2], const float *tile, int line, int k) {
        const float *from = tile + (k + threadIdx.x % 4) * STRIDE + line + threadIdx.x % 32 / 4;
#pragma unroll
        for (int j = 0; j < NT; j++)
#pragma unroll
            for (int v = 0; v < 2; v++) y[j][v] = from[v * 4 * STRIDE + j * 8];
    }
};

// A block's tile of a product: `BM` rows and `BN` columns, `BK` entries of the sum at a time; `WM` by `WN` warps share the tile,
// `WK` the sum.
template <int BM_, int BN_, int BK_, int WM_, int WN_, int WK_> struct Tile {
    enum {
        BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, WK = WK_, THREADS = 32 * WM * WN * WK,
        MT = BM / WM / 16, NT = BN / WN / 8 // 16x8 fragments of a warp
    };
};

template <class G> struct Sums {
    float at[G::MT][G::NT][4];
};

// Sums `k` from `begin` to `end` (whole slabs of `BK`) of the tile whose first row and column are `m` and `n`. Of the warps that share
// a sum the first hold the result; what the others hold is to be ignored.
template <class G, bool ALONG_A, bool ALONG_B, class A, class B>
__device__ __forceinline__ void product(Sums<G> &sums, const A &left, const B &right, int m, int n, int begin, int end) {
    typedef Stage<G::BM, G::BK, G::THREADS, ALONG_A, A> StageA;
    typedef Stage<G::BN, G::BK, G::THREADS, ALONG_B, B> StageB;
    __shared__ __align__(16) float tile_a[StageA::SIZE];
    __shared__ __align__(16) float tile_b[StageB::SIZE];
    StageA a(left, m);
    StageB b(right, n);
    const int warp = threadIdx.x / 32;
    const int m0 = warp % G::WM * (G::BM / G::WM), n0 = warp / G::WM % G::WN * (G::BN / G::WN);
    const int k0 = warp / (G::WM * G::WN) * (G::BK / G::WK);
    clear<G::MT, G::NT>(sums.at);
    a.fetch(begin);
    b.fetch(begin);
    for (int slab = begin; slab < end; slab += G::BK) {
        __syncthreads();
        a.store(tile_a);
        b.store(tile_b);
        __syncthreads();
        if (slab + G::BK < end) {
            a.fetch(slab + G::BK);
            b.fetch(slab + G::BK);
        }
#pragma unroll
        for (int k = 0; k < G::BK / G::WK; k += 8) {
            float x[G::MT][4], y[G::NT][2];
            StageA::template left<G::MT>(x, tile_a, m0, k0 + k);
            StageB::template right<G::NT>(y, tile_b, n0, k0 + k);
            multiply_all<G::MT, G::NT>(sums.at, x, y);
        }
    }
    if (G::WK > 1) {
        __shared__ float shared_sums[G::WK > 1 ? (G::WK - 1) * G::MT * G::NT * 4 * 32 * G::WM * G::WN : 1];
        const int share = warp / (G::WM * G::WN), thread = threadIdx.x % (32 * G::WM * G::WN);
#pragma unroll
        for (int i = 0; i < G::MT; i++)
#pragma unroll
            for (int j = 0; j < G::NT; j++)
#pragma unroll
                for (int v = 0; v < 4; v++)
                    if (share > 0)
                        shared_sums[(((share - 1) * G::MT + i) * G::NT + j) * 4 * 32 * G::WM * G::WN +
                                    v * 32 * G::WM * G::WN + thread] = sums.at[i][j][v];
        __syncthreads();
        if (share == 0)
#pragma unroll
            for (int other = 0; other < G::WK - 1; other++)
#pragma unroll
                for (int i = 0; i < G::MT; i++)
#pragma unroll
                    for (int j = 0; j < G::NT; j++)
#pragma unroll
                        for (int v = 0; v < 4; v++)
                            sums.at[i][j][v] += shared_sums[((other * G::MT + i) * G::NT + j) * 4 * 32 * G::WM * G::WN +
                                                            v * 32 * G::WM * G::WN + thread];
    }
}

// Calls `each(row, column, value)` for every value of the tile that this thread holds.
template <class G, class Each> __device__ __forceinline__ void for_each(const Sums<G> &sums, int m, int n, Each each) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (warp / (G::WM * G::WN) > 0) return;
    m += warp % G::WM * (G::BM / G::WM) + lane / 4;
    n += warp / G::WM % G::WN * (G::BN / G::WN) + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < G::MT; i++)
#pragma unroll
        for (int j = 0; j < G::NT; j++)
#pragma unroll
            for (int v = 0; v < 4; v++) each(m + i * 16 + v / 2 * 8, n + j * 8 + v % 2, sums.at[i][j][v]);
}

// ---- Convolutions and dense layers ----

// The largest of some values, and which it is.
struct Maximum {
    float value;
    int where;
};

// What is done with the sums of a convolution: `layer` names the dropout behind the rectifier, -1 for none, with the layer's own
// `rate`.
template <class T> struct Finish {
    const float *bias;
    float *y;
    u8 *maximum;
    float share;
    u64 key;

    __device__ __forceinline__ Finish(const Step *step, const float *bias, float *y, u8 *maximum, int layer, float rate)
        : bias(bias), y(y), maximum(maximum), share(layer < 0 ? 0.0f : dropout_rate(step, rate)),
          key(mix(step->dropout ^ (u64)layer)) {}

    // The four corners of a window: the maximum and where it was.
    __device__ __forceinline__ Maximum window(int f, float a, float b, float c, float d) const {
        Maximum best = {a, 0};
        if (b > best.value) best = {b, 1};
        if (c > best.value) best = {c, 2};
        if (d > best.value) best = {d, 3};
        best.value += bias[f];
        return best.value > 0.0f ? best : Maximum{0.0f, DEAD};
    }

    // The value at one position, a row of `y`.
    __device__ __forceinline__ float position(int row, int f, float sum) const {
        float value = sum + bias[f];
        if (T::AFTER == RELU) value = value > 0.0f ? value : 0.0f;
        return share > 0.0f ? value * dropout_factor(key, share, row * T::F + f) : value;
    }

    __device__ __forceinline__ void write(int cell, int f, Maximum best) const {
        y[cell * T::F + f] = best.value;
        maximum[cell * T::F + f] = best.where;
    }
};

// Grid: tiles of rows, tiles of filters.
template <class T, class G, class X>
__device__ __forceinline__ void conv_forward(const Step *step, const X &x, const float *weight, const float *bias, float *y,
                                             u8 *maximum, int layer, float rate) {
    const int count = step->count, m = blockIdx.x * G::BM, n = blockIdx.y * G::BN;
    if (m >= rows<T>(count)) return;
    Sums<G> sums;
    const Windows<T, X> left = {x, count};
    const Weights<T> right = {weight};
    product<G, true, true>(sums, left, right, m, n, 0, T::DEPTH);
    const Finish<T> finish(step, bias, y, maximum, layer, rate);
    if (T::AFTER == RELU_POOL) {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        if (warp / (G::WM * G::WN) > 0) return;
        const int first = m + warp % G::WM * (G::BM / G::WM), column = n + warp / G::WM % G::WN * (G::BN / G::WN) + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i + 1 < G::MT; i += 2) {
            const int window = (first + i * 16) / 32 * 8 + lane / 4;
            if (window >= count * T::PH * T::PW) continue;
#pragma unroll
            for (int j = 0; j < G::NT; j++)
#pragma unroll
                for (int v = 0; v < 2; v++) {
                    const int f = column + j * 8 + v;
                    if (f < T::F)
                        finish.write(window, f, finish.window(f, sums.at[i][j][v], sums.at[i][j][v + 2], sums.at[i + 1][j][v],
                                                              sums.at[i + 1][j][v + 2]));
                }
        }
        return;
    }
    for_each(sums, m, n, [&](int row, int f, float sum) {
        if (row < count * T::OH * T::OW && f < T::F) y[row * T::F + f] = finish.position(row, f, sum);
    });
}

// What a surviving value was multiplied by in dropout.
__device__ __forceinline__ float dropout_scale(const Step *step, int layer, float rate) {
    return layer < 0 ? 1.0f : 1.0f / (1.0f - dropout_rate(step, rate));
}

// Gradient of the input. Grid: tiles of input positions, tiles of channels. Added to what is there if `ADD`.
template <class T, class G, bool ADD>
__device__ __forceinline__ void conv_input_gradient(const Step *step, const float *weight, const float *y, const u8 *maximum,
                                                    const float *slope, float *gradient, int layer, float rate) {
    const int count = step->count, m = blockIdx.x * G::BM, n = blockIdx.y * G::BN;
    if (m >= count * T::H * T::W) return;
    Sums<G> sums;
    const Reached<T> left = {{slope, y, maximum, dropout_scale(step, layer, rate)}, count};
    const Transposed<T> right = {weight};
    product<G, true, false>(sums, left, right, m, n, 0, Reached<T>::DEPTH);
    for_each(sums, m, n, [&](int row, int c, float sum) {
        if (row < count * T::H * T::W && c < T::C) gradient[row * T::C + c] = ADD ? gradient[row * T::C + c] + sum : sum;
    });
}

// Partial sums of the gradients of weight and bias, one behind the other. Grid: tiles of window entries, tiles of filters, shares
// of the positions.
template <class T, class G, class X>
__device__ __forceinline__ void conv_weight_gradient(const Step *step, const X &x, const float *y, const u8 *maximum,
                                                     const float *slope, float *partial, int layer, float rate) {
    const int count = step->count, m = blockIdx.y * G::BM, n = blockIdx.x * G::BN;
    const int slabs = (rows<T>(count) + G::BK - 1) / G::BK, each = (slabs + gridDim.z - 1) / gridDim.z;
    const int begin = blockIdx.z * each, end = begin + each < slabs ? begin + each : slabs;
    Sums<G> sums;
    const SlopesAcross<T> left = {{slope, y, maximum, dropout_scale(step, layer, rate)}, count};
    const WindowsAcross<T, X> right = {x, count};
    product<G, false, false>(sums, left, right, m, n, begin * G::BK, end * G::BK);
    float *to = partial + (u64)blockIdx.z * T::F * (T::DEPTH + 1);
    for_each(sums, m, n, [&](int f, int k, float sum) {
        if (f >= T::F || k > T::DEPTH) return;
        to[k < T::DEPTH ? f * T::DEPTH + k : T::F * T::DEPTH + f] = sum;
    });
}

// ---- Convolutions of whole samples ----

// Where the maps of a few samples fit into shared memory, fragments are read from there, each value as often as windows overlap,
// and only weights are fetched again and again. Channels and filters are multiples of 8.

// The memory is of the size that the launch gives.
#ifdef EMULATED
static float dynamic_memory[58112] __attribute__((aligned(16)));
#else
extern __shared__ __align__(16) float dynamic_memory[];
#endif

// `memory` and `len` are multiples of 4 values.
__device__ __forceinline__ void zero(float *memory, int len) {
    for (int i = threadIdx.x * 4; i < len; i += blockDim.x * 4) *(float4 *)(memory + i) = zero4();
}

// How far apart lines of `len` values lie whose threads are 4 lines by 8 values: 8 or 24 banks.
__device__ constexpr int across(int len) { return len % 16 == 0 ? len + 8 : len; }

// What is to be added to `at` so that it is `to` modulo the banks.
__device__ constexpr int pad(int at, int to) { return ((to - at) % 32 + 32) % 32; }

// The place of position `p` in maps of `H` by `W` positions, `N` samples one behind the other, where positions are `X` apart, rows
// `Y` and samples `Z`.
template <int H, int W, int N, int X, int Y, int Z> __device__ __forceinline__ int spread(int p) {
    return p * X + (Y == W * X ? 0 : p / W * (Y - W * X)) + (N == 1 || Z == H * Y ? 0 : p / (H * W) * (Z - H * Y));
}

// Moves `Layout::LEN` values to where they belong in shared memory. Several loads are under way before the first store: the compiler
// can't know that they don't meet. `fetch` starts the first of them.
template <class Layout, int THREADS> struct Mover {
    enum { ROUNDS = (Layout::LEN + THREADS - 1) / THREADS, BATCH = ROUNDS < 8 ? ROUNDS : 8, UNROLLED = ROUNDS <= 24 ? ROUNDS : 1 };
    const Layout layout;
    typename Layout::Value held[BATCH];

    __device__ __forceinline__ Mover(const Layout &layout) : layout(layout) {}

    __device__ __forceinline__ void fetch(int first, int start = 0) {
        const int thread = thread_number();
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (in_range(start + i, thread)) held[i] = layout.load(first, thread + (start + i) * THREADS);
    }
    __device__ __forceinline__ void store(float *to, int first) {
        const int thread = thread_number();
#pragma unroll UNROLLED
        for (int start = 0; start < ROUNDS; start += BATCH) {
            if (start > 0) fetch(first, start);
#pragma unroll
            for (int i = 0; i < BATCH; i++)
                if (in_range(start + i, thread)) layout.store(to, thread + (start + i) * THREADS, held[i]);
        }
    }

    // Only the last round may be short.
    static __device__ __forceinline__ bool in_range(int round, int thread) {
        return round < Layout::LEN / THREADS || (round < ROUNDS && thread + round * THREADS < Layout::LEN);
    }
    // `threadIdx.x`, of which the compiler does not know that it is the same each time: it would keep all addresses in registers.
    static __device__ __forceinline__ int thread_number() {
        int thread = threadIdx.x;
#ifndef EMULATED
        asm volatile("" : "+r"(thread));
#endif
        return thread;
    }
};

// The maps of `N` samples from `first` on, `START` behind the place of their first position; what lies between is left as it is.
// Samples from `count` on are what the last one ends with. `SPLIT`: rows and columns lie by twos, first all the even ones, then the odd ones `DOWN` and
// `RIGHT` further.
template <class T, int N, int X, int Y, int Z, int START, bool SPLIT, int DOWN, int RIGHT> struct MapLayout {
    enum { QUADS = T::C / 4, EACH_ = T::H * T::W * QUADS, LEN = N * EACH_ };
    const float *x;
    int count;
    typedef float4 Value;

    __device__ __forceinline__ float4 load(int first, int i) const {
        if (N > 1) i = min(i, (count - first) * EACH_ - 1);
        return ((const float4 *)(x + first * T::H * T::W * T::C))[i];
    }
    __device__ __forceinline__ void store(float *to, int i, float4 v) const {
        const int at = i / QUADS;
        const int row = at / T::W % T::H + T::P, column = at % T::W + T::P;
        const int place = SPLIT ? at / (T::H * T::W) * Z + row / 2 * Y + row % 2 * DOWN + column / 2 * X + column % 2 * RIGHT
                                : spread<T::H, T::W, N, X, Y, Z>(at) + START;
        *(float4 *)(to + place + i % QUADS * 4) = rounded(v);
    }
};

// Slopes and, behind a pool, where each belongs.
struct Placed {
    float4 slope;
    uchar4 where;
};

// The slopes of `N` samples from `first` on, zero from `count` on. What was stored of the output, and so its slopes, are cells: positions, or windows whose
// four positions lie `DOWN` and `RIGHT` of the first.
template <class T, int N, int X, int Y, int Z, int START, int DOWN, int RIGHT> struct SlopeLayout {
    enum { QUADS = T::F / 4, EACH_ = T::PH * T::PW * QUADS, LEN = N * EACH_ };
    Slopes<T> slopes;
    int count;
    typedef Placed Value;

    __device__ __forceinline__ Placed load(int first, int i) const {
        Placed placed = {zero4(), {DEAD, DEAD, DEAD, DEAD}};
        if (N > 1 && i >= (count - first) * EACH_) return placed;
        const int start = first * T::PH * T::PW * T::F;
        placed.slope = ((const float4 *)(slopes.slope + start))[i];
        if (T::AFTER == RELU_POOL) placed.where = ((const uchar4 *)(slopes.maximum + start))[i];
        if (T::AFTER == RELU) placed.slope = slopes.passed(placed.slope, ((const float4 *)(slopes.value + start))[i]);
        return placed;
    }
    __device__ __forceinline__ void store(float *to, int i, const Placed &placed) const {
        const float4 s = rounded(placed.slope);
        const uchar4 where = placed.where;
        to += spread<T::PH, T::PW, N, X, Y, Z>(i / QUADS) + START + i % QUADS * 4;
        if (T::AFTER != RELU_POOL) {
            *(float4 *)to = s;
            return;
        }
        // A cell's one slope goes to one of four positions, and zero to the others.
#pragma unroll
        for (int corner = 0; corner < 4; corner++)
            *(float4 *)(to + corner / 2 * DOWN + corner % 2 * RIGHT) =
                make_float4(where.x == corner ? s.x : 0.0f, where.y == corner ? s.y : 0.0f, where.z == corner ? s.z : 0.0f,
                            where.w == corner ? s.w : 0.0f);
    }
};

// How `WM` by `WN` warps share `ROWS` rows and `NB` columns.
template <int ROWS, int NB_, int WM_, int WN_, bool PAIRS> struct Share {
    enum {
        NB = NB_, WM = WM_, WN = WN_, THREADS = 32 * WM * WN, TILES = (ROWS + 15) / 16,
        MT = PAIRS ? (TILES / 2 + WM - 1) / WM * 2 : (TILES + WM - 1) / WM, NT = NB / 8 / WN
    };
};

// Grid: groups of `N` samples, groups of `NB` filters.
template <class T, int N, int NB, int WM, int WN>
__device__ __forceinline__ void whole_forward(const Step *step, const float *x, const float *weight, const float *bias, float *y,
                                              u8 *maximum, int layer, float rate) {
    enum { POOL = T::AFTER == RELU_POOL, CELLS = N * T::PH * T::PW, ROWS = POOL ? (CELLS + 7) / 8 * 32 : CELLS };
    typedef Share<ROWS, NB, WM, WN, POOL> S;
    enum {
        // Rows of a fragment are windows next to each other. Behind a pool these are two positions apart: with even and odd ones on
        // their own they are neighbours too. A row of windows goes on in the banks where the one before ended.
        STRIDE = T::C + 4, H = T::H + 2 * T::P, W = T::W + 2 * T::P, HALF_H = (H + 1) / 2, HALF_W = (W + 1) / 2,
        WIDE = (POOL ? 2 * HALF_W : W) * STRIDE, PITCH = WIDE + pad(WIDE, T::PW * T::S * STRIDE),
        AREA = (POOL ? 2 * HALF_H : H) * PITCH, MAP = N * AREA, QUADS = NB * T::C / 4, HELD = (QUADS + S::THREADS - 1) / S::THREADS,
        RIGHT = HALF_W * STRIDE, DOWN = HALF_H * PITCH, ODD = POOL && T::S % 2 == 1
    };
    typedef MapLayout<T, N, STRIDE, PITCH, AREA, T::P * (PITCH + STRIDE), POOL, DOWN, RIGHT> Layout;
    const int count = step->count, first = blockIdx.x * N, n = blockIdx.y * NB;
    if (first >= count) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = warp % WM * S::MT * 16, n0 = warp / WM * S::NT * 8;
    float *map = dynamic_memory, *tiles = map + MAP;
    Mover<Layout, S::THREADS> mover({x, count});
    mover.fetch(first);
    // Weights come one entry of the kernel at a time, in two tiles by turns.
    float4 held[HELD];
    const auto fetch = [&](int tap) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * S::THREADS, f = n + at / (T::C / 4), c = at % (T::C / 4) * 4;
            const bool there = (QUADS % S::THREADS == 0 || at < QUADS) && (T::F % NB == 0 || f < T::F);
            held[i] = there ? *(const float4 *)(weight + (f * T::TAPS + tap) * T::C + c) : zero4();
        }
    };
    fetch(0);
    if (T::P > 0) {
        zero(map, MAP);
        __syncthreads();
    }
    mover.store(map, first);
    // Where the windows of this lane's rows start.
    int from[S::MT];
#pragma unroll
    for (int i = 0; i < S::MT; i++) {
        const int row = m0 + i * 16 + lane % 16;
        const Place at = place<T>(row < ROWS ? row : 0);
        const int top = at.y * T::S, left = at.x * T::S;
        from[i] = (at.sample < N ? at.sample : 0) * AREA + (POOL ? top / 2 : top) * PITCH + (POOL ? left / 2 : left) * STRIDE +
                  lane / 16 * 4;
    }
    float sums[S::MT][S::NT][4];
    clear<S::MT, S::NT>(sums);
    for (int tap = 0; tap < T::TAPS; tap++) {
        float *tile = tiles + tap % 2 * NB * STRIDE;
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * S::THREADS;
            if (QUADS % S::THREADS == 0 || at < QUADS) *(float4 *)(tile + at / (T::C / 4) * STRIDE + at % (T::C / 4) * 4) = rounded(held[i]);
        }
        __syncthreads();
        if (tap + 1 < T::TAPS) fetch(tap + 1);
        // Behind a pool, lower and right corners of a window start at odd positions.
        const float *under[2];
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const int down = tap / T::KW + (ODD ? lower : 0), right = tap % T::KW + (ODD ? lane / 8 % 2 : 0);
            under[lower] = POOL ? map + down / 2 * PITCH + down % 2 * DOWN + right / 2 * STRIDE + right % 2 * RIGHT
                                : map + down * PITCH + right * STRIDE;
        }
#pragma unroll 4
        for (int k = 0; k < T::C; k += 8) {
            float a[S::MT][4], b[S::NT][2];
#pragma unroll
            for (int i = 0; i < S::MT; i++) load_matrices(a[i], under[i % 2] + from[i] + k);
            load_right<S::NT, STRIDE>(b, tile + n0 * STRIDE + k);
            multiply_all<S::MT, S::NT>(sums, a, b);
        }
    }
    const Finish<T> finish(step, bias, y, maximum, layer, rate);
    const int cells = (count - first) * T::PH * T::PW < CELLS ? (count - first) * T::PH * T::PW : CELLS;
#pragma unroll
    for (int j = 0; j < S::NT; j++) {
        const int f = n + n0 + j * 8 + quarter * 2;
        if (f >= T::F) continue;
        if (POOL) {
#pragma unroll
            for (int i = 0; i + 1 < S::MT; i += 2) {
                const int cell = (m0 + i * 16) / 32 * 8 + group, to = (first * T::PH * T::PW + cell) * T::F + f;
                if (cell >= cells) continue;
                const float *upper = sums[i][j], *lower = sums[i + 1][j];
                const Maximum one = finish.window(f, upper[0], upper[2], lower[0], lower[2]);
                const Maximum two = finish.window(f + 1, upper[1], upper[3], lower[1], lower[3]);
                *(float2 *)(y + to) = make_float2(one.value, two.value);
                *(uchar2 *)(maximum + to) = make_uchar2(one.where, two.where);
            }
        } else {
#pragma unroll
            for (int i = 0; i < S::MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v += 2) {
                    const int cell = m0 + i * 16 + group + v * 4, row = first * T::PH * T::PW + cell;
                    if (cell < cells)
                        *(float2 *)(y + row * T::F + f) =
                            make_float2(finish.position(row, f, sums[i][j][v]), finish.position(row, f + 1, sums[i][j][v + 1]));
                }
        }
    }
}

// Adds the second half's sums to the first's, by way of `memory`, which all have read.
template <int HALF, int MT, int NT> __device__ __forceinline__ void add_halves(float (&sums)[MT][NT][4], float *memory) {
    __syncthreads();
    float *mine = memory + threadIdx.x % HALF;
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++)
        if (threadIdx.x >= HALF) mine[i * HALF] = sums[i / 4 / NT][i / 4 % NT][i % 4];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < MT * NT * 4; i++)
        if (threadIdx.x < HALF) sums[i / 4 / NT][i / 4 % NT][i % 4] += mine[i * HALF];
}

// Twice `WM` by `WN` warps, of which the first half takes every other eight entries of the sum, and the second half the rest. Grid:
// groups of `N` samples, groups of `NB` channels. The slopes lie in a map as large as the windows of the turned kernel reach,
// with zeros between them if the stride is 2.
template <class T, int N, int NB, int WM, int WN, bool ADD>
__device__ __forceinline__ void whole_input_gradient(const Step *step, const float *weight, const float *y, const u8 *maximum,
                                                     const float *slope, float *gradient, int layer, float rate) {
    enum { ROWS = N * T::H * T::W };
    typedef Share<ROWS, NB, WM, WN, false> S;
    enum {
        HALF = S::THREADS, THREADS = 2 * HALF, CELL = T::AFTER == RELU_POOL ? 2 * T::S : T::S, // positions from one to the next
        STRIDE = T::F + 4, WIDE = (T::W + T::KW - 1) * STRIDE, PITCH = WIDE + pad(WIDE, T::W * STRIDE),
        AREA = (T::H + T::KH - 1) * PITCH, MAP = N * AREA, ACROSS = across(NB), QUADS = T::F * NB / 4,
        ROUNDS = (QUADS + THREADS - 1) / THREADS, START = (T::KH - 1 - T::P) * PITCH + (T::KW - 1 - T::P) * STRIDE
    };
    typedef SlopeLayout<T, N, CELL * STRIDE, CELL * PITCH, AREA, START, T::S * PITCH, T::S * STRIDE> Layout;
    const int count = step->count, first = blockIdx.x * N, n = blockIdx.y * NB;
    if (first >= count) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x % HALF / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = warp % WM * S::MT * 16, n0 = warp / WM * S::NT * 8, half = threadIdx.x / HALF;
    float *map = dynamic_memory, *tile = map + MAP;
    Mover<Layout, THREADS> mover({{slope, y, maximum, dropout_scale(step, layer, rate)}, count});
    mover.fetch(first);
    // Weights come one row of the kernel at a time.
    float4 held[T::KW][ROUNDS];
    const auto fetch = [&](int row) {
#pragma unroll
        for (int tap = 0; tap < T::KW; tap++)
#pragma unroll
            for (int i = 0; i < ROUNDS; i++) {
                const int at = threadIdx.x + i * THREADS, f = at / (NB / 4), c = n + at % (NB / 4) * 4;
                const bool there = (QUADS % THREADS == 0 || at < QUADS) && (T::C % NB == 0 || c < T::C);
                held[tap][i] = there ? *(const float4 *)(weight + (f * T::TAPS + row * T::KW + tap) * T::C + c) : zero4();
            }
    };
    fetch(0);
    zero(map, MAP);
    __syncthreads();
    mover.store(map, first);
    int from[S::MT];
#pragma unroll
    for (int i = 0; i < S::MT; i++) {
        const int row = m0 + i * 16 + lane % 16;
        from[i] = spread<T::H, T::W, N, STRIDE, PITCH, AREA>(row < ROWS ? row : 0) + lane / 16 * 4;
    }
    float sums[S::MT][S::NT][4];
    clear<S::MT, S::NT>(sums);
    for (int row = 0; row < T::KH; row++) {
        __syncthreads();
#pragma unroll
        for (int tap = 0; tap < T::KW; tap++)
#pragma unroll
            for (int i = 0; i < ROUNDS; i++) {
                const int at = threadIdx.x + i * THREADS, f = at / (NB / 4);
                if (QUADS % THREADS == 0 || at < QUADS)
                    *(float4 *)(tile + (tap * T::F + f) * ACROSS + at % (NB / 4) * 4) = rounded(held[tap][i]);
            }
        __syncthreads();
        if (row + 1 < T::KH) fetch(row + 1);
        for (int tap = 0; tap < T::KW; tap++) {
            // The kernel turned round: its first entry meets the last slope.
            const float *under = map + (T::KH - 1 - row) * PITCH + (T::KW - 1 - tap) * STRIDE + half * 8;
            const float *beside = tile + (tap * T::F + half * 8 + quarter) * ACROSS + n0 + group;
#pragma unroll 4
            for (int k = 0; k < T::F - (T::F % 16 > 0 ? half * 8 : 0); k += 16) {
                float a[S::MT][4], b[S::NT][2];
#pragma unroll
                for (int i = 0; i < S::MT; i++) load_matrices(a[i], under + from[i] + k);
#pragma unroll
                for (int j = 0; j < S::NT; j++)
#pragma unroll
                    for (int v = 0; v < 2; v++) b[j][v] = beside[(k + v * 4) * ACROSS + j * 8];
                multiply_all<S::MT, S::NT>(sums, a, b);
            }
        }
    }
    add_halves<HALF, S::MT, S::NT>(sums, dynamic_memory);
    if (half > 0) return;
#pragma unroll
    for (int i = 0; i < S::MT; i++)
#pragma unroll
        for (int j = 0; j < S::NT; j++)
#pragma unroll
            for (int v = 0; v < 4; v += 2) {
                const int row = m0 + i * 16 + group + v * 4, c = n + n0 + j * 8 + quarter * 2;
                if (row >= ROWS || first + row / (T::H * T::W) >= count || c >= T::C) continue;
                float2 *to = (float2 *)(gradient + (first * T::H * T::W + row) * T::C + c);
                const float2 before = ADD ? *to : make_float2(0.0f, 0.0f);
                *to = make_float2(before.x + sums[i][j][v], before.y + sums[i][j][v + 1]);
            }
}

// Partial sums of the gradients of weight and bias. Grid: groups of `NT * WN` times 8 entries of the window, groups of `MT * WM`
// times 16 filters, shares of the samples, of which each takes every `gridDim.z`-th group of `N`. Shares without one write nothing.
template <class T, int N, int MT, int NT, int WM, int WN>
__device__ __forceinline__ void whole_weight_gradient(const Step *step, const float *x, const float *y, const u8 *maximum,
                                                      const float *slope, float *partial, int layer, float rate) {
    enum {
        POOL = T::AFTER == RELU_POOL, CELLS = N * T::PH * T::PW, POSITIONS = POOL ? 4 * CELLS : CELLS, STEPS = (POSITIONS + 7) / 8,
        // The positions of a window follow each other. The rows lie so that its four corners, or the ends of one row of positions and
        // the start of the next, are in different banks.
        STRIDE = across(T::C), WIDE = (T::W + 2 * T::P) * STRIDE, PITCH = WIDE + pad(WIDE, POOL ? 16 : T::PW * STRIDE),
        AREA = (T::H + 2 * T::P) * PITCH, MAP = N * AREA, ACROSS = across(T::F), CELL = POOL ? 4 * ACROSS : ACROSS,
        THREADS = 32 * WM * WN, ROWS = MT * WM * 16,
        // Where warps are as many as groups of 8 channels, or divide them, a warp takes one of those in several entries of the kernel:
        // the distances of its columns are the same for all warps then.
        BY_TAP = T::C / 8 % WN == 0 && T::TAPS > 1, PARTS = BY_TAP ? T::C / 8 / WN : 1
    };
    typedef MapLayout<T, N, STRIDE, PITCH, AREA, T::P * (PITCH + STRIDE), false, 0, 0> Maps;
    typedef SlopeLayout<T, N, CELL, T::PW * CELL, T::PH * T::PW * CELL, 0, 2 * ACROSS, ACROSS> SlopeRows;
    const int count = step->count, m = blockIdx.y * ROWS, groups = (count + N - 1) / N;
    if (blockIdx.z >= groups) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = m + warp % WM * MT * 16;
    float *map = dynamic_memory, *slope_map = map + MAP;
    int2 *from = (int2 *)(slope_map + STEPS * 8 * ACROSS);
    Mover<Maps, THREADS> maps({x, count});
    Mover<SlopeRows, THREADS> slopes({{slope, y, maximum, dropout_scale(step, layer, rate)}, count});
    maps.fetch(blockIdx.z * N);
    slopes.fetch(blockIdx.z * N);
    if (T::P > 0) zero(map, MAP);
    zero(slope_map + POSITIONS * ACROSS, (STEPS * 8 - POSITIONS) * ACROSS);
    // Where the windows of each position and of the one 4 further start, in bytes.
    const auto window = [](int position) {
        const int cell = position < POSITIONS ? POOL ? position / 4 : position : 0, times = POOL ? 2 * T::S : T::S;
        return 4 * (spread<T::PH, T::PW, N, times * STRIDE, times * PITCH, AREA>(cell) +
                    (POOL ? position % 4 / 2 * T::S * PITCH + position % 2 * T::S * STRIDE : 0));
    };
    for (int i = threadIdx.x; i < STEPS * 4; i += THREADS) {
        const int position = i / 4 * 8 + i % 4;
        from[i] = make_int2(window(position), window(position + 4));
    }
    // The first window entry of this warp's column `j`, and the place of this thread's own from the start of a window on.
    const auto column = [&](int j) {
        return BY_TAP ? (int)(blockIdx.x / PARTS * NT + j) * T::C + (int)(blockIdx.x % PARTS * WN + warp / WM) * 8
                      : (int)((blockIdx.x * WN + warp / WM) * NT + j) * 8;
    };
    int entry[NT];
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int k = BY_TAP ? (int)(blockIdx.x / PARTS * NT + j) * T::C : column(j), tap = k < T::DEPTH ? k / T::C : 0;
        entry[j] = 4 * (tap / T::KW * PITCH + tap % T::KW * STRIDE + (BY_TAP ? 0 : k % T::C));
    }
    const int own = 4 * (group + (BY_TAP ? column(0) % T::C : 0));
    // The filter whose slopes this thread adds up for the bias, together with others.
    const int biased = m + threadIdx.x % ROWS;
    float sums[MT][NT][4], bias = 0.0f;
    clear<MT, NT>(sums);
    for (int chunk = blockIdx.z; chunk < groups; chunk += gridDim.z) {
        __syncthreads();
        maps.store(map, chunk * N);
        slopes.store(slope_map, chunk * N);
        __syncthreads();
        // While this one is summed, the next is on its way.
        if (chunk + gridDim.z < groups) {
            maps.fetch((chunk + gridDim.z) * N);
            slopes.fetch((chunk + gridDim.z) * N);
        }
        if (blockIdx.x == 0 && biased < T::F)
#pragma unroll 4
            for (int k = threadIdx.x / ROWS; k < STEPS * 8; k += THREADS / ROWS) bias += slope_map[k * ACROSS + biased];
#pragma unroll 4
        for (int k = 0; k < STEPS * 8; k += 8) {
            float a[MT][4], b[NT][2];
            const float *line = slope_map + (k + quarter) * ACROSS + m0 + group;
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v++) a[i][v] = T::F % ROWS == 0 || m0 + i * 16 < T::F ? line[i * 16 + v % 2 * 8 + v / 2 * 4 * ACROSS] : 0.0f;
            const int2 windows = from[k / 2 + quarter];
            const int start[2] = {own + windows.x, own + windows.y};
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int v = 0; v < 2; v++) b[j][v] = *(const float *)((const char *)dynamic_memory + (start[v] + entry[j]));
            multiply_all<MT, NT>(sums, a, b);
        }
    }
    float *to = partial + (u64)blockIdx.z * T::F * (T::DEPTH + 1);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int v = 0; v < 4; v += 2) {
            const int f = m0 + i * 16 + group + v * 4;
            if (f >= T::F) continue;
#pragma unroll
            for (int j = 0; j < NT; j++) {
                const int k = column(j) + quarter * 2;
                if (k < T::DEPTH) *(float2 *)(to + f * T::DEPTH + k) = make_float2(sums[i][j][v], sums[i][j][v + 1]);
            }
        }
    if (blockIdx.x > 0) return;
    __syncthreads();
    dynamic_memory[threadIdx.x] = bias;
    __syncthreads();
    if (threadIdx.x >= ROWS || biased >= T::F) return;
    for (int other = 1; other < THREADS / ROWS; other++) bias += dynamic_memory[other * ROWS + threadIdx.x];
    to[T::F * T::DEPTH + biased] = bias;
}

// ---- Convolutions of the image ----

// One channel makes no matrix: a lane has a filter, and its weights in registers; 8 warps share the windows.

// An image with the convolution's zeros around it.
template <class T> struct ImageLayout {
    enum { WIDE = T::W + 2 * T::P, LEN = (T::H + 2 * T::P) * WIDE };
    const Step *step;
    typedef u8 Value;

    __device__ __forceinline__ u8 load(int sample, int i) const {
        const int y = i / WIDE - T::P, x = i % WIDE - T::P;
        const bool inside = y >= 0 && y < T::H && x >= 0 && x < T::W;
        return inside ? step->pixels[(u64)step->rows[sample] * PIXELS + y * T::W + x] : (u8)0;
    }
    __device__ __forceinline__ void store(float *to, int i, u8 grey) const { to[i] = grey * (1.0f / 255.0f); }
};

// Grid: samples, groups of 32 filters.
template <class T>
__device__ __forceinline__ void image_conv_forward(const Step *step, const float *weight, const float *bias, float *y, u8 *maximum,
                                                   int layer, float rate) {
    enum { WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE, POOL = T::AFTER == RELU_POOL };
    __shared__ float image[AREA];
    const int sample = blockIdx.x, f = blockIdx.y * 32 + threadIdx.x % 32;
    if (sample >= step->count) return;
    Mover<ImageLayout<T>, 256> mover({step});
    mover.fetch(sample);
    mover.store(image, sample);
    float w[T::TAPS];
#pragma unroll
    for (int tap = 0; tap < T::TAPS; tap++) w[tap] = f < T::F ? weight[f * T::TAPS + tap] : 0.0f;
    __syncthreads();
    if (f >= T::F) return;
    const Finish<T> finish(step, bias, y, maximum, layer, rate);
    for (int cell = threadIdx.x / 32; cell < T::PH * T::PW; cell += 8) {
        const int scale = POOL ? 2 : 1;
        const float *from = image + (cell / T::PW * scale * WIDE + cell % T::PW * scale) * T::S;
        float sums[POOL ? 4 : 1];
#pragma unroll
        for (int corner = 0; corner < (POOL ? 4 : 1); corner++) {
            sums[corner] = 0.0f;
#pragma unroll
            for (int tap = 0; tap < T::TAPS; tap++)
                sums[corner] += from[(corner / 2 * T::S + tap / T::KW) * WIDE + corner % 2 * T::S + tap % T::KW] * w[tap];
        }
        const int row = sample * T::PH * T::PW + cell;
        if (POOL) finish.write(row, f, finish.window(f, sums[0], sums[POOL ? 1 : 0], sums[POOL ? 2 : 0], sums[POOL ? 3 : 0]));
        else y[row * T::F + f] = finish.position(row, f, sums[0]);
    }
}

// Partial sums. Grid: groups of 32 filters, 1, shares of the work, which is cut into `PARTS` for each sample: each share takes every
// `gridDim.z`-th part, and those without one write nothing.
template <class T, int PARTS>
__device__ __forceinline__ void image_conv_weight_gradient(const Step *step, const float *y, const u8 *maximum, const float *slope,
                                                           float *partial, int layer, float rate) {
    enum {
        WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE, POOL = T::AFTER == RELU_POOL, CELLS = T::PH * T::PW,
        PART = (CELLS + PARTS - 1) / PARTS, EACH_ = (PART + 7) / 8 < 6 ? (PART + 7) / 8 : 6
    };
    __shared__ float image[AREA];
    __shared__ float gathered[8][32];
    const int parts = step->count * PARTS, lane = threadIdx.x % 32, warp = threadIdx.x / 32, f = blockIdx.x * 32 + lane;
    if (blockIdx.z >= parts) return;
    const float scale = dropout_scale(step, layer, rate);
    Mover<ImageLayout<T>, 256> mover({step});
    float sums[T::TAPS + 1];
#pragma unroll
    for (int tap = 0; tap <= T::TAPS; tap++) sums[tap] = 0.0f;
    mover.fetch(blockIdx.z / PARTS);
    for (int part = blockIdx.z; part < parts; part += gridDim.z) {
        const int sample = part / PARTS, first = part % PARTS * PART + warp, last = min((part % PARTS + 1) * PART, CELLS) - 1;
        // Some cells at a time, so that their loads overlap.
        float s[EACH_];
        int where[EACH_];
        const auto load = [&](int cell) {
#pragma unroll
            for (int i = 0; i < EACH_; i++) {
                const int at = (sample * CELLS + min(cell + i * 8, last)) * T::F + f;
                s[i] = f < T::F && cell + i * 8 <= last ? slope[at] : 0.0f;
                where[i] = POOL && f < T::F ? maximum[at] : 0;
                if (T::AFTER == RELU && f < T::F) s[i] = y[at] > 0.0f ? s[i] * scale : 0.0f;
            }
        };
        __syncthreads();
        mover.store(image, sample);
        load(first);
        __syncthreads();
        if (part + gridDim.z < parts) mover.fetch((part + gridDim.z) / PARTS);
        for (int cell = first; cell <= last; cell += 8 * EACH_) {
            if (cell > first) load(cell);
#pragma unroll
            for (int i = 0; i < EACH_; i++) {
                if (POOL && where[i] == DEAD) s[i] = 0.0f;
                const int at = min(cell + i * 8, last), times = POOL ? 2 : 1, corner = where[i] % DEAD;
                const int row = at / T::PW * times + corner / 2, column = at % T::PW * times + corner % 2;
                const float *from = image + (row * WIDE + column) * T::S;
#pragma unroll
                for (int tap = 0; tap < T::TAPS; tap++) sums[tap] += s[i] * from[tap / T::KW * WIDE + tap % T::KW];
                sums[T::TAPS] += s[i];
            }
        }
    }
    float *to = partial + (u64)blockIdx.z * T::F * (T::TAPS + 1);
#pragma unroll
    for (int tap = 0; tap <= T::TAPS; tap++) {
        __syncthreads();
        gathered[warp][lane] = sums[tap];
        __syncthreads();
        if (warp == 0 && f < T::F) {
            float sum = 0.0f;
            for (int i = 0; i < 8; i++) sum += gathered[i][lane];
            to[tap < T::TAPS ? f * T::TAPS + tap : T::F * T::TAPS + f] = sum;
        }
    }
}

// ---- Steps that go value by value; the grid strides over them ----

#define EACH(index, total) for (int index = blockIdx.x * blockDim.x + threadIdx.x; index < (total); index += gridDim.x * blockDim.x)

template <int LEN> __device__ __forceinline__ void relu_forward(const Step *step, const float *x, float *y) {
    EACH(i, step->count * LEN) y[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

template <int LEN, bool RELU>
__device__ __forceinline__ void add_forward(const Step *step, const float *a, const float *b, float *y) {
    EACH(i, step->count * LEN) {
        const float sum = a[i] + b[i];
        y[i] = !RELU || sum > 0.0f ? sum : 0.0f;
    }
}

// Of a rectifier, or of a sum with one behind it, for one of its terms.
template <int LEN, bool RELU, bool ADD>
__device__ __forceinline__ void pass_backward(const Step *step, const float *y, const float *slope, float *gradient) {
    EACH(i, step->count * LEN) gradient[i] = (ADD ? gradient[i] : 0.0f) + (!RELU || y[i] > 0.0f ? slope[i] : 0.0f);
}

// Mean of each channel.
template <int POSITIONS, int C> __device__ __forceinline__ void average_forward(const Step *step, const float *x, float *y) {
    EACH(i, step->count * C) {
        float sum = 0.0f;
        for (int position = 0; position < POSITIONS; position++) sum += x[(i / C * POSITIONS + position) * C + i % C];
        y[i] = sum / POSITIONS;
    }
}

template <int POSITIONS, int C, bool ADD>
__device__ __forceinline__ void average_backward(const Step *step, const float *slope, float *gradient) {
    EACH(i, step->count * POSITIONS * C)
    gradient[i] = (ADD ? gradient[i] : 0.0f) + slope[i / C / POSITIONS * C + i % C] / POSITIONS;
}

template <int LEN>
__device__ __forceinline__ void dropout_forward(const Step *step, const float *x, float *y, int layer, float own) {
    const float rate = dropout_rate(step, own);
    const u64 key = mix(step->dropout ^ (u64)layer);
    EACH(i, step->count * LEN) y[i] = rate > 0.0f ? x[i] * dropout_factor(key, rate, i) : x[i];
}

template <int LEN, bool ADD>
__device__ __forceinline__ void dropout_backward(const Step *step, const float *slope, float *gradient, int layer, float own) {
    const float rate = dropout_rate(step, own);
    const u64 key = mix(step->dropout ^ (u64)layer);
    EACH(i, step->count * LEN)
    gradient[i] = (ADD ? gradient[i] : 0.0f) + (rate > 0.0f ? slope[i] * dropout_factor(key, rate, i) : slope[i]);
}

// Maximum over `SIZE` x `SIZE` windows, and which of the window's values it was, the first of equals.
template <int H, int W, int C, int SIZE, int S, class X>
__device__ __forceinline__ void pool_forward(const Step *step, const X &x, float *y, u16 *maximum) {
    enum { OH = (H - SIZE) / S + 1, OW = (W - SIZE) / S + 1 };
    typedef Conv<H, W, C, C, 1, 1, 1, 0, NOTHING> Map;
    EACH(i, step->count * OH * OW * C) {
        const int c = i % C, column = i / C % OW, row = i / C / OW % OH, sample = i / C / OW / OH;
        float best = 0.0f;
        int where = -1;
        for (int at = 0; at < SIZE * SIZE; at++) {
            const float value = x.template at<Map>(sample, row * S + at / SIZE, column * S + at % SIZE, c);
            if (where < 0 || value > best) best = value, where = at;
        }
        y[i] = best;
        maximum[i] = where;
    }
}

// Each value gathers from the windows it lies in, so that nothing is added by two threads.
template <int H, int W, int C, int SIZE, int S, bool ADD>
__device__ __forceinline__ void pool_backward(const Step *step, const u16 *maximum, const float *slope, float *gradient) {
    enum { OH = (H - SIZE) / S + 1, OW = (W - SIZE) / S + 1 };
    EACH(i, step->count * H * W * C) {
        const int c = i % C, x = i / C % W, y = i / C / W % H, sample = i / C / W / H;
        float sum = ADD ? gradient[i] : 0.0f;
        for (int row = y < SIZE ? 0 : (y - SIZE) / S + 1; row < OH && row * S <= y; row++)
            for (int column = x < SIZE ? 0 : (x - SIZE) / S + 1; column < OW && column * S <= x; column++) {
                const int window = ((sample * OH + row) * OW + column) * C + c;
                if (maximum[window] == (y - row * S) * SIZE + x - column * S) sum += slope[window];
            }
        gradient[i] = sum;
    }
}

// The grey values as floats, for what can't read them itself.
__device__ __forceinline__ void image_forward(const Step *step, float *y) {
    EACH(i, step->count * PIXELS) y[i] = step->pixels[(u64)step->rows[i / PIXELS] * PIXELS + i % PIXELS] * (1.0f / 255.0f);
}

// A moving average after the next value; with nothing kept it is that value, to the bit.
__device__ __forceinline__ float moved(float average, float next, float keep) {
    return keep > 0.0f ? average + (1.0f - keep) * (next - average) : next;
}

// ---- Batch norm ----

// Of `C` channels at `POSITIONS` positions of each sample. Sums over a batch: blocks of 32 channels and shares of the rows (grid),
// 8 rows at a time (threads), added up in a fixed order.

const float NORM_EPSILON = 1e-3f, NORM_MOMENTUM = 0.99f;

// Calls `term(row, channel, sums)` for the rows of this block's share; what it adds to the two sums goes to `partial`,
// `[share, sum, channel]`.
template <int POSITIONS, int C, class Term>
__device__ __forceinline__ void norm_partials(const Step *step, float *partial, Term term) {
    __shared__ float sums[2][8][32];
    const int column = threadIdx.x % 32, lane = threadIdx.x / 32, c = blockIdx.x * 32 + column;
    const int rows = step->count * POSITIONS;
    float mine[2] = {0.0f, 0.0f};
    if (c < C)
        for (int row = blockIdx.y * 8 + lane; row < rows; row += gridDim.y * 8) term(row, c, mine);
    sums[0][lane][column] = mine[0], sums[1][lane][column] = mine[1];
    __syncthreads();
    if (lane < 2 && c < C) {
        float sum = 0.0f;
        for (int i = 0; i < 8; i++) sum += sums[lane][i][column];
        partial[(blockIdx.y * 2 + lane) * C + c] = sum;
    }
}

// Sums of the values and of their squares, both from the channel's first value on, which keeps the digits.
template <int POSITIONS, int C> __device__ __forceinline__ void norm_sums(const Step *step, const float *x, float *partial) {
    if (!step->training) return;
    norm_partials<POSITIONS, C>(step, partial, [&](int row, int c, float *sums) {
        const float from = x[row * C + c] - x[c];
        sums[0] += from, sums[1] += from * from;
    });
}

// `statistics` is mean, (biased) variance and inverse deviation, `[3, channel]`: the batch's while training, else the running ones.
template <int POSITIONS, int C>
__device__ __forceinline__ void norm_finish(const Step *step, const float *x, const float *partial, const float *mean,
                                            const float *variance, float *statistics, int shares) {
    EACH(c, C) {
        float m = mean[c], v = variance[c];
        if (step->training) {
            float sum = 0.0f, squares = 0.0f;
            for (int share = 0; share < shares; share++)
                sum += partial[share * 2 * C + c], squares += partial[(share * 2 + 1) * C + c];
            const float from = sum / (step->count * POSITIONS);
            m = x[c] + from;
            v = squares / (step->count * POSITIONS) - from * from;
            v = v > 0.0f ? v : 0.0f;
        }
        statistics[c] = m, statistics[C + c] = v, statistics[2 * C + c] = 1.0f / sqrtf(v + NORM_EPSILON);
    }
}

template <int POSITIONS, int C, bool RELU>
__device__ __forceinline__ void norm_forward(const Step *step, const float *x, const float *scale, const float *shift,
                                             const float *statistics, float *y) {
    EACH(i, step->count * POSITIONS * C) {
        const int c = i % C;
        const float value = (x[i] - statistics[c]) * statistics[2 * C + c] * scale[c] + shift[c];
        y[i] = !RELU || value > 0.0f ? value : 0.0f;
    }
}

// Sums of the slopes, which are the gradient of the shift, and of their products with the normalised values, that of the scale.
template <int POSITIONS, int C, bool RELU>
__device__ __forceinline__ void norm_slope_sums(const Step *step, const float *x, const float *y, const float *slope,
                                                const float *statistics, float *partial) {
    norm_partials<POSITIONS, C>(step, partial, [&](int row, int c, float *sums) {
        const int i = row * C + c;
        const float passed = !RELU || y[i] > 0.0f ? slope[i] : 0.0f;
        sums[0] += passed, sums[1] += passed * (x[i] - statistics[c]) * statistics[2 * C + c];
    });
}

// `sums` are `[2, channel]`.
template <int C> __device__ __forceinline__ void norm_slope_finish(const float *partial, float *sums, int shares) {
    EACH(i, 2 * C) {
        float sum = 0.0f;
        for (int share = 0; share < shares; share++) sum += partial[share * 2 * C + i];
        sums[i] = sum;
    }
}

template <int POSITIONS, int C, bool RELU, bool ADD>
__device__ __forceinline__ void norm_backward(const Step *step, const float *x, const float *y, const float *slope,
                                              const float *statistics, const float *scale, const float *sums, float *gradient) {
    const float rows = step->count * POSITIONS;
    EACH(i, step->count * POSITIONS * C) {
        const int c = i % C;
        const float inverse = statistics[2 * C + c], normal = (x[i] - statistics[c]) * inverse;
        const float passed = !RELU || y[i] > 0.0f ? slope[i] : 0.0f;
        const float change = scale[c] * inverse * (passed - (sums[c] + normal * sums[C + c]) / rows);
        gradient[i] = (ADD ? gradient[i] : 0.0f) + change;
    }
}

// Moves the running statistic `running` towards the batch's, if the step counts, and its moving average, if there is one, after it.
template <int C>
__device__ __forceinline__ void norm_follow(const Step *step, const float *statistic, float *running, float *average,
                                            const unsigned *bad) {
    if (*bad) return;
    EACH(c, C) {
        running[c] = NORM_MOMENTUM * running[c] + (1.0f - NORM_MOMENTUM) * statistic[c];
        if (average) average[c] = moved(average[c], running[c], step->keep);
    }
}

// ---- Loss ----

// Cross-entropy in nats of each sample against smoothed targets, its prediction, and the gradient by the logits of the mean of what is
// minimised, of which a teacher may have a share: `(1 - distill) * cross-entropy + distill * temperature^2 * cross-entropy of the
// softened logits against its lesson`.
extern "C" __global__ void __launch_bounds__(128) loss(const Step *step, const float *logits, float *slope) {
    const int count = step->count, sample = blockIdx.x * 128 + threadIdx.x;
    if (sample >= count) return;
    const float spread = step->smoothing / CLASSES, hit = 1.0f - step->smoothing + spread;
    float values[CLASSES];
#pragma unroll
    for (int c = 0; c < CLASSES; c++) values[c] = logits[sample * CLASSES + c];
    int best = 0;
    float most = values[0], total = 0.0f, loss = 0.0f;
#pragma unroll
    for (int c = 1; c < CLASSES; c++)
        if (values[c] > most) most = values[c], best = c;
#pragma unroll
    for (int c = 0; c < CLASSES; c++) total += expf(values[c] - most);
    const float log_total = logf(total), distill = step->distill, temperature = step->temperature;
    const float *lesson = step->lessons ? step->lessons + sample * CLASSES : 0;
    float soft_total = 0.0f;
    if (lesson)
        for (int c = 0; c < CLASSES; c++) soft_total += expf((values[c] - most) / temperature);
    const int label = step->labels[sample];
#pragma unroll
    for (int c = 0; c < CLASSES; c++) {
        const float log_share = values[c] - most - log_total, target = c == label ? hit : spread;
        loss -= target * log_share;
        float change = expf(log_share) - target;
        if (lesson) {
            const float softened = expf((values[c] - most) / temperature) / soft_total;
            change = (1.0f - distill) * change + distill * temperature * (softened - lesson[c]);
        }
        slope[sample * CLASSES + c] = change / count;
    }
    // Where logits are too far apart for a float the loss is not finite, but the slopes are: one that is no number stops the update.
    if (!(fabsf(loss) <= 3.402823466e38f)) slope[sample * CLASSES + best] = loss - loss;
    step->losses[sample] = loss;
    step->predictions[sample] = best;
}

// ---- Gradients and update ----

// Adds up the partial sums, and sets `bad` if one is not finite. Each block does 32 values of one parameter, whose number and first
// value are in `blocks`; 8 threads share the sum of one value.
extern "C" __global__ void __launch_bounds__(256)
    reduce(const Step *step, const Tensor *tensors, const uint2 *blocks, unsigned *bad) {
    enum { LANES = 8, BATCH = 12 };
    __shared__ float sums[LANES][32];
    const uint2 block = blocks[blockIdx.x];
    const Tensor tensor = tensors[block.x];
    const unsigned lane = threadIdx.x / 32, column = threadIdx.x % 32, i = block.y + column;
    const unsigned groups = tensor.group ? (step->count * tensor.parts + tensor.group - 1) / tensor.group : tensor.splits;
    const unsigned splits = groups < tensor.splits ? groups : tensor.splits;
    float sum = 0.0f;
    for (unsigned split = lane; split < splits; split += LANES * BATCH) {
        // All loads are under way before the first is added.
        float held[BATCH];
#pragma unroll
        for (unsigned next = 0; next < BATCH; next++) {
            const unsigned at = split + next * LANES;
            held[next] = at < splits && i < tensor.len ? tensor.partial[at * tensor.stride + i] : 0.0f;
        }
#pragma unroll
        for (unsigned next = 0; next < BATCH; next++) sum += held[next];
    }
    sums[lane][column] = sum;
    __syncthreads();
    if (lane > 0 || i >= tensor.len) return;
    for (int other = 1; other < LANES; other++) sum += sums[other][column];
    tensor.gradient[i] = sum;
    if (!(fabsf(sum) <= 3.402823466e38f)) *bad = 1;
}

// Updates value `i` of a parameter, as dfdx's optimizers do it.
__device__ __forceinline__ void update_value(const Step *step, const Tensor &tensor, unsigned i, float (&squares)[3]) {
    const float value = tensor.value[i], decay = tensor.decays ? step->decay : 0.0f, rate = step->rate;
    const float g = tensor.gradient[i] + (step->optimizer == ADAMW ? 0.0f : decay * value);
    float next = value;
    if (step->optimizer <= ADAMW) {
        const float m = tensor.first[i] * 0.9f + g * (1.0f - 0.9f);
        const float v = tensor.second[i] * 0.999f + g * g * (1.0f - 0.999f);
        tensor.first[i] = m;
        tensor.second[i] = v;
        next -= rate * (m * step->corrections[0]) / (sqrtf(v * step->corrections[1]) + 1e-7f);
        if (step->optimizer == ADAMW) next -= decay * rate * value;
    } else if (step->optimizer == SGD) {
        float v = g;
        if (step->momentum > 0.0f) {
            v = g + step->momentum * tensor.first[i];
            tensor.first[i] = v;
            if (step->nesterov) v = g + step->momentum * v;
        }
        next -= v * rate;
    } else {
        const float s = tensor.first[i] + (1.0f - 0.9f) * (g * g - tensor.first[i]);
        tensor.first[i] = s;
        next -= g / sqrtf(s + 1e-7f) * rate;
    }
    tensor.value[i] = next;
    squares[0] = tensor.gradient[i] * tensor.gradient[i], squares[1] = value * value, squares[2] = (next - value) * (next - value);
    if (tensor.average) tensor.average[i] = moved(tensor.average[i], next, step->keep);
}

// Updates the parameters, unless a gradient of this step or an earlier one of the same burst was not
// finite.
extern "C" __global__ void __launch_bounds__(256)
    update(const Step *step, const Tensor *tensors, const uint2 *blocks, const unsigned *bad) {
    if (blockIdx.x == gridDim.x - 1) {
        // The last block has the mean loss to do.
        __shared__ double sums[256];
        double sum = 0.0;
        for (unsigned sample = threadIdx.x; sample < step->count; sample += 256) sum += step->losses[sample];
        sums[threadIdx.x] = sum;
        __syncthreads();
        for (int half = 128; half > 0; half /= 2) {
            if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
            __syncthreads();
        }
        if (threadIdx.x == 0) step->result[0] = (float)(sums[0] / step->count), step->result[1] = *bad ? 1.0f : 0.0f;
        return;
    }
    const uint2 block = blocks[blockIdx.x]; // as for `reduce`, but of 256 values
    if (*bad) return;
    const Tensor tensor = tensors[block.x];
    const unsigned i = block.y + threadIdx.x;
    float squares[3] = {0.0f, 0.0f, 0.0f};
    if (i < tensor.len) update_value(step, tensor, i, squares);
    if (!step->squares) return;
    __shared__ float sums[3][256];
    for (int which = 0; which < 3; which++) sums[which][threadIdx.x] = squares[which];
    __syncthreads();
    if (threadIdx.x < 3) {
        double sum = 0.0;
        for (int thread = 0; thread < 256; thread++) sum += sums[threadIdx.x][thread];
        step->squares[blockIdx.x * 3 + threadIdx.x] = (float)sum;
    }
}
