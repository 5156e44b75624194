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

    __device__ __forceinline__ float one(float slope, float value) const { return value > 0.0f ? slope * scale : 0.0f; }

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
        if (T::AFTER == NOTHING) return s;
        const float4 v = quad<T::F>(value + cell, f);
        return make_float4(one(s.x, v.x), one(s.y, v.y), one(s.z, v.z), one(s.w, v.w));
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

// As it goes into a product: rounded once, on the way into shared memory, unless all digits are wanted.
__device__ __forceinline__ float4 rounded(float4 v) {
#ifdef PRECISE
    return v;
#else
    return make_float4(tf32(v.x), tf32(v.y), tf32(v.z), tf32(v.w));
#endif
}

// sums += x * y for all pairs of fragments.
template <int MT, int NT>
__device__ __forceinline__ void multiply_all(float (&sums)[MT][NT][4], float (&x)[MT][4], float (&y)[NT][2]) {
#ifdef PRECISE
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
    static __device__ __forceinline__ float value(const float *tile, int line, int k) { return tile[line * STRIDE + k]; }
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
    static __device__ __forceinline__ float value(const float *tile, int line, int k) { return tile[k * STRIDE + line]; }
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
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, quarter = lane % 4;
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
#pragma unroll
            for (int i = 0; i < G::MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v++)
                    x[i][v] = StageA::value(tile_a, m0 + i * 16 + group + v % 2 * 8, k0 + k + quarter + v / 2 * 4);
#pragma unroll
            for (int j = 0; j < G::NT; j++)
#pragma unroll
                for (int v = 0; v < 2; v++)
                    y[j][v] = StageB::value(tile_b, n0 + j * 8 + group, k0 + k + quarter + v * 4);
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

    // The four corners of a window.
    __device__ __forceinline__ void window(int window, int f, float a, float b, float c, float d) const {
        float best = a;
        int where = 0;
        if (b > best) best = b, where = 1;
        if (c > best) best = c, where = 2;
        if (d > best) best = d, where = 3;
        best += bias[f];
        const bool alive = best > 0.0f;
        y[window * T::F + f] = alive ? best : 0.0f;
        maximum[window * T::F + f] = alive ? where : DEAD;
    }

    // One position.
    __device__ __forceinline__ void position(int row, int f, float sum) const {
        float value = sum + bias[f];
        if (T::AFTER == RELU) value = value > 0.0f ? value : 0.0f;
        if (share > 0.0f) value *= dropout_factor(key, share, row * T::F + f);
        y[row * T::F + f] = value;
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
                        finish.window(window, f, sums.at[i][j][v], sums.at[i][j][v + 2], sums.at[i + 1][j][v],
                                      sums.at[i + 1][j][v + 2]);
                }
        }
        return;
    }
    for_each(sums, m, n, [&](int row, int f, float sum) {
        if (row < count * T::OH * T::OW && f < T::F) finish.position(row, f, sum);
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

// Calls `store(i, load(i))` for each `i` below `LEN`, the threads in turn. Several loads are under way before the first store: the
// compiler can't know that they don't meet.
template <int LEN, int THREADS, class Load, class Store>
__device__ __forceinline__ void in_batches(const Load &load, const Store &store) {
    enum { EACH_ = (LEN + THREADS - 1) / THREADS, BATCH = EACH_ < 8 ? EACH_ : 8 };
    typedef decltype(load(0)) Value;
    for (int start = threadIdx.x; start < LEN; start += THREADS * BATCH) {
        Value held[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (start + i * THREADS < LEN) held[i] = load(start + i * THREADS);
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (start + i * THREADS < LEN) store(start + i * THREADS, held[i]);
    }
}

// Four values to an address that is a multiple of 16 bytes, or of 8.
template <int STRIDE> __device__ __forceinline__ void store4(float *to, float4 v) {
    if (STRIDE % 4 == 0) {
        *(float4 *)to = v;
    } else {
        *(float2 *)to = make_float2(v.x, v.y);
        *(float2 *)(to + 2) = make_float2(v.z, v.w);
    }
}

// The maps of samples `first` to `first + N` with the convolution's zeros around them, positions `STRIDE` apart and rows `PITCH`; the
// zeros are there already. Samples from `count` on are zero.
template <class T, int N, int STRIDE, int PITCH, int THREADS, class X>
__device__ __forceinline__ void lay_out_map(float *to, const X &x, int first, int count) {
    enum { QUADS = T::C / 4, LEN = T::H * T::W * QUADS, AREA = (T::H + 2 * T::P) * PITCH };
    in_batches<N * LEN, THREADS>(
        [&](int i) {
            const int sample = first + i / LEN, at = i % LEN / QUADS;
            return sample < count ? x.template at4<T>(sample, at / T::W, at % T::W, i % QUADS * 4) : zero4();
        },
        [&](int i, float4 v) {
            const int at = i % LEN / QUADS;
            store4<STRIDE>(to + i / LEN * AREA + (at / T::W + T::P) * PITCH + (at % T::W + T::P) * STRIDE + i % QUADS * 4, rounded(v));
        });
}

// Slopes and, behind a pool, where each belongs.
struct Placed {
    float4 slope;
    uchar4 where;
};

// The slopes of samples `first` to `first + N` at the positions of the output, `place(sample, y, x)` says where in `to`.
template <class T, int N, int THREADS, class At>
__device__ __forceinline__ void lay_out_slopes(float *to, const Slopes<T> &slopes, int first, int count, const At &at) {
    enum { QUADS = T::F / 4, LEN = T::PH * T::PW * QUADS };
    in_batches<N * LEN, THREADS>(
        [&](int i) {
            const int sample = first + i / LEN, cell = i % LEN / QUADS, f = i % QUADS * 4;
            Placed placed = {zero4(), {DEAD, DEAD, DEAD, DEAD}};
            if (sample < count) {
                const int from = (sample * T::PH * T::PW + cell) * T::F + f;
                if (T::AFTER == RELU_POOL) {
                    placed.slope = *(const float4 *)(slopes.slope + from);
                    placed.where = *(const uchar4 *)(slopes.maximum + from);
                } else {
                    placed.slope = slopes.at(sample, cell / T::PW, cell % T::PW, f);
                }
            }
            return placed;
        },
        [&](int i, const Placed &placed) {
            const int sample = i / LEN, cell = i % LEN / QUADS, f = i % QUADS * 4;
            const float4 s = rounded(placed.slope);
            const uchar4 where = placed.where;
            if (T::AFTER == RELU_POOL) {
                // A cell's one slope goes to one of four positions, and zero to the others.
#pragma unroll
                for (int corner = 0; corner < 4; corner++)
                    *(float4 *)(to + at(sample, cell / T::PW * 2 + corner / 2, cell % T::PW * 2 + corner % 2) + f) =
                        make_float4(where.x == corner ? s.x : 0.0f, where.y == corner ? s.y : 0.0f,
                                    where.z == corner ? s.z : 0.0f, where.w == corner ? s.w : 0.0f);
            } else {
                *(float4 *)(to + at(sample, cell / T::PW, cell % T::PW) + f) = s;
            }
        });
}

// How `WM` by `WN` warps share `ROWS` rows and `NB` columns.
template <int ROWS, int NB_, int WM_, int WN_, bool PAIRS> struct Share {
    enum {
        NB = NB_, WM = WM_, WN = WN_, THREADS = 32 * WM * WN, TILES = (ROWS + 15) / 16,
        MT = PAIRS ? (TILES / 2 + WM - 1) / WM * 2 : (TILES + WM - 1) / WM, NT = NB / 8 / WN
    };
};

// Grid: groups of `N` samples, groups of `NB` filters.
template <class T, int N, int NB, int WM, int WN, class X>
__device__ __forceinline__ void whole_forward(const Step *step, const X &x, const float *weight, const float *bias, float *y,
                                              u8 *maximum, int layer, float rate) {
    enum { POOL = T::AFTER == RELU_POOL, CELLS = N * T::PH * T::PW, ROWS = POOL ? (CELLS + 7) / 8 * 32 : CELLS };
    typedef Share<ROWS, NB, WM, WN, POOL> S;
    enum {
        // The rows of a fragment are windows 1 position apart, or 2 with a pool: in different banks all the same.
        // That holds from one row of them to the next too.
        STRIDE = POOL ? T::C + 2 : T::C + 4, WIDE = (T::W + 2 * T::P) * STRIDE, BANKS = POOL ? 16 : 32,
        PITCH = WIDE + ((T::PW * T::S * STRIDE - WIDE) % BANKS + BANKS) % BANKS, AREA = (T::H + 2 * T::P) * PITCH,
        MAP = (N * AREA + 3) / 4 * 4, DOWN = T::C + 4, QUADS = NB * T::C / 4, HELD = (QUADS + S::THREADS - 1) / S::THREADS
    };
    const int count = step->count, first = blockIdx.x * N, n = blockIdx.y * NB;
    if (first >= count) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = warp % WM * S::MT * 16, n0 = warp / WM * S::NT * 8;
    float *map = dynamic_memory, *tile = map + MAP;
    if (T::P > 0) {
        zero(map, MAP);
        __syncthreads();
    }
    lay_out_map<T, N, STRIDE, PITCH, S::THREADS>(map, x, first, count);
    // Where the windows of this thread's rows start.
    int from[S::MT][2];
#pragma unroll
    for (int i = 0; i < S::MT; i++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            const int row = m0 + i * 16 + group + v * 8;
            const Place at = place<T>(row < ROWS ? row : 0);
            from[i][v] = (at.sample < N ? at.sample : 0) * AREA + at.y * T::S * PITCH + at.x * T::S * STRIDE;
        }
    // Weights come one entry of the kernel at a time.
    float4 held[HELD];
    const auto fetch = [&](int tap) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * S::THREADS, f = n + at / (T::C / 4), c = at % (T::C / 4) * 4;
            held[i] = at < QUADS && f < T::F ? *(const float4 *)(weight + (f * T::TAPS + tap) * T::C + c) : zero4();
        }
    };
    float sums[S::MT][S::NT][4];
    clear<S::MT, S::NT>(sums);
    fetch(0);
    for (int tap = 0; tap < T::TAPS; tap++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * S::THREADS;
            if (at < QUADS) *(float4 *)(tile + at / (T::C / 4) * DOWN + at % (T::C / 4) * 4) = rounded(held[i]);
        }
        __syncthreads();
        if (tap + 1 < T::TAPS) fetch(tap + 1);
        const float *under = map + tap / T::KW * PITCH + tap % T::KW * STRIDE;
#pragma unroll 4
        for (int k = 0; k < T::C; k += 8) {
            float a[S::MT][4], b[S::NT][2];
#pragma unroll
            for (int i = 0; i < S::MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v++) a[i][v] = under[from[i][v % 2] + k + quarter + v / 2 * 4];
#pragma unroll
            for (int j = 0; j < S::NT; j++)
#pragma unroll
                for (int v = 0; v < 2; v++) b[j][v] = tile[(n0 + j * 8 + group) * DOWN + k + quarter + v * 4];
            multiply_all<S::MT, S::NT>(sums, a, b);
        }
    }
    const Finish<T> finish(step, bias, y, maximum, layer, rate);
    const int cells = (count - first) * T::PH * T::PW < CELLS ? (count - first) * T::PH * T::PW : CELLS;
#pragma unroll
    for (int j = 0; j < S::NT; j++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            const int f = n + n0 + j * 8 + quarter * 2 + v;
            if (f >= T::F) continue;
            if (POOL) {
#pragma unroll
                for (int i = 0; i + 1 < S::MT; i += 2) {
                    const int window = (m0 + i * 16) / 32 * 8 + group;
                    if (window < cells)
                        finish.window(first * T::PH * T::PW + window, f, sums[i][j][v], sums[i][j][v + 2], sums[i + 1][j][v],
                                      sums[i + 1][j][v + 2]);
                }
            } else {
#pragma unroll
                for (int i = 0; i < S::MT; i++)
#pragma unroll
                    for (int lower = 0; lower < 2; lower++) {
                        const int row = m0 + i * 16 + group + lower * 8;
                        if (row < cells) finish.position(first * T::PH * T::PW + row, f, sums[i][j][v + lower * 2]);
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
        HALF = S::THREADS, THREADS = 2 * HALF,
        STRIDE = T::F + 4, WIDE = (T::W + T::KW - 1) * STRIDE, PITCH = WIDE + ((T::W * STRIDE - WIDE) % 32 + 32) % 32,
        AREA = (T::H + T::KH - 1) * PITCH, MAP = N * AREA, ACROSS = NB + 8, QUADS = T::KW * T::F * NB / 4, HELD = (QUADS + THREADS - 1) / THREADS
    };
    const int count = step->count, first = blockIdx.x * N, n = blockIdx.y * NB;
    if (first >= count) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x % HALF / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = warp % WM * S::MT * 16, n0 = warp / WM * S::NT * 8, half = threadIdx.x / HALF;
    float *map = dynamic_memory, *tile = map + MAP;
    zero(map, MAP);
    __syncthreads();
    const Slopes<T> slopes = {slope, y, maximum, dropout_scale(step, layer, rate)};
    lay_out_slopes<T, N, THREADS>(map, slopes, first, count, [](int sample, int y, int x) {
        return sample * AREA + (y * T::S + T::KH - 1 - T::P) * PITCH + (x * T::S + T::KW - 1 - T::P) * STRIDE;
    });
    int from[S::MT][2];
#pragma unroll
    for (int i = 0; i < S::MT; i++)
#pragma unroll
        for (int v = 0; v < 2; v++) {
            const int row = m0 + i * 16 + group + v * 8, at = row < ROWS ? row : 0;
            from[i][v] = at / (T::H * T::W) * AREA + at / T::W % T::H * PITCH + at % T::W * STRIDE;
        }
    float4 held[HELD];
    const auto fetch = [&](int row) {
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * THREADS, c = n + at % (NB / 4) * 4, f = at / (NB / 4) / T::KW;
            const int tap = row * T::KW + at / (NB / 4) % T::KW;
            held[i] = at < QUADS && c < T::C ? *(const float4 *)(weight + (f * T::TAPS + tap) * T::C + c) : zero4();
        }
    };
    float sums[S::MT][S::NT][4];
    clear<S::MT, S::NT>(sums);
    fetch(0);
    for (int row = 0; row < T::KH; row++) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < HELD; i++) {
            const int at = threadIdx.x + i * THREADS, f = at / (NB / 4) / T::KW, tap = at / (NB / 4) % T::KW;
            if (at < QUADS) *(float4 *)(tile + (tap * T::F + f) * ACROSS + at % (NB / 4) * 4) = rounded(held[i]);
        }
        __syncthreads();
        if (row + 1 < T::KH) fetch(row + 1);
        for (int tap = 0; tap < T::KW; tap++) {
            // The kernel turned round: its first entry meets the last slope.
            const float *under = map + (T::KH - 1 - row) * PITCH + (T::KW - 1 - tap) * STRIDE, *beside = tile + tap * T::F * ACROSS;
#pragma unroll 4
            for (int k = half * 8; k < T::F; k += 16) {
                float a[S::MT][4], b[S::NT][2];
#pragma unroll
                for (int i = 0; i < S::MT; i++)
#pragma unroll
                    for (int v = 0; v < 4; v++) a[i][v] = under[from[i][v % 2] + k + quarter + v / 2 * 4];
#pragma unroll
                for (int j = 0; j < S::NT; j++)
#pragma unroll
                    for (int v = 0; v < 2; v++) b[j][v] = beside[(k + quarter + v * 4) * ACROSS + n0 + j * 8 + group];
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
            for (int v = 0; v < 4; v++) {
                const int row = m0 + i * 16 + group + v / 2 * 8, c = n + n0 + j * 8 + quarter * 2 + v % 2;
                if (row >= ROWS || first + row / (T::H * T::W) >= count || c >= T::C) continue;
                float *to = gradient + (first * T::H * T::W + row) * T::C + c;
                *to = ADD ? *to + sums[i][j][v] : sums[i][j][v];
            }
}

// Partial sums of the gradients of weight and bias. Grid: groups of `NT * WN` times 8 entries of the window, groups of `MT * WM`
// times 16 filters, shares of the samples, of which each takes every `gridDim.z`-th group of `N`. Shares without one write nothing.
template <class T, int N, int MT, int NT, int WM, int WN, class X>
__device__ __forceinline__ void whole_weight_gradient(const Step *step, const X &x, const float *y, const u8 *maximum,
                                                      const float *slope, float *partial, int layer, float rate) {
    enum {
        POOL = T::AFTER == RELU_POOL, OH = POOL ? 2 * T::PH : T::OH, OW = POOL ? 2 * T::PW : T::OW,
        POSITIONS = N * OH * OW, STEPS = (POSITIONS + 7) / 8, WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE,
        STRIDE = T::C + 8, MAP = N * AREA * STRIDE, ACROSS = T::F + 8
    };
    const int count = step->count, n = blockIdx.x * NT * WN * 8, m = blockIdx.y * MT * WM * 16;
    const int groups = (count + N - 1) / N;
    if (blockIdx.z >= groups) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, quarter = lane % 4;
    const int m0 = m + warp % WM * MT * 16, n0 = n + warp / WM * NT * 8;
    float *map = dynamic_memory, *slope_map = map + MAP;
    int *from = (int *)(slope_map + STEPS * 8 * ACROSS);
    const Slopes<T> slopes = {slope, y, maximum, dropout_scale(step, layer, rate)};
    if (T::P > 0) zero(map, MAP);
    zero(slope_map + POSITIONS * ACROSS, (STEPS * 8 - POSITIONS) * ACROSS);
    // Where the window of each position starts.
    for (int i = threadIdx.x; i < STEPS * 8; i += blockDim.x) {
        const int at = i < POSITIONS ? i : 0;
        from[i] = (at / (OH * OW) * AREA + at / OW % OH * T::S * WIDE + at % OW * T::S) * STRIDE;
    }
    // The entries of this thread's columns, from the start of a window on.
    int entry[NT];
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int k = n0 + j * 8 + group < T::DEPTH ? n0 + j * 8 + group : 0;
        entry[j] = (k / T::C / T::KW * WIDE + k / T::C % T::KW) * STRIDE + k % T::C;
    }
    float sums[MT][NT][4], bias[MT][1][4];
    clear<MT, NT>(sums);
    clear<MT, 1>(bias);
    for (int chunk = blockIdx.z; chunk < groups; chunk += gridDim.z) {
        __syncthreads();
        lay_out_map<T, N, STRIDE, WIDE * STRIDE, 32 * WM * WN>(map, x, chunk * N, count);
        lay_out_slopes<T, N, 32 * WM * WN>(slope_map, slopes, chunk * N, count,
                             [](int sample, int y, int x) { return ((sample * OH + y) * OW + x) * ACROSS; });
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < STEPS * 8; k += 8) {
            float a[MT][4], b[NT][2], one[1][2] = {{group == 0 ? 1.0f : 0.0f, group == 0 ? 1.0f : 0.0f}};
            const float *line = slope_map + (k + quarter) * ACROSS + m0 + group;
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v++) a[i][v] = m0 + i * 16 < T::F ? line[i * 16 + v % 2 * 8 + v / 2 * 4 * ACROSS] : 0.0f;
            const float *windows[2] = {map + from[k + quarter], map + from[k + quarter + 4]};
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int v = 0; v < 2; v++) b[j][v] = windows[v][entry[j]];
            // Before the products, which may cut the operands in two.
            float again[MT][4];
#pragma unroll
            for (int i = 0; i < MT; i++)
#pragma unroll
                for (int v = 0; v < 4; v++) again[i][v] = a[i][v];
            multiply_all<MT, NT>(sums, a, b);
            if (n0 == 0) multiply_all<MT, 1>(bias, again, one);
        }
    }
    float *to = partial + (u64)blockIdx.z * T::F * (T::DEPTH + 1);
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int v = 0; v < 4; v++) {
            const int f = m0 + i * 16 + group + v / 2 * 8;
            if (f >= T::F) continue;
#pragma unroll
            for (int j = 0; j < NT; j++) {
                const int k = n0 + j * 8 + quarter * 2 + v % 2;
                if (k < T::DEPTH) to[f * T::DEPTH + k] = sums[i][j][v];
            }
            if (n0 == 0 && quarter == 0 && v % 2 == 0) to[T::F * T::DEPTH + f] = bias[i][0][v];
        }
}

// ---- Convolutions of the image ----

// One channel makes no matrix: a lane has a filter, and its weights in registers; 8 warps share the windows.

// The image of `sample` with the convolution's zeros around it. All threads call it.
template <class T> __device__ __forceinline__ void lay_out_image(float *to, const Step *step, int sample) {
    enum { WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE };
    const u8 *image = step->pixels + (u64)step->rows[sample] * PIXELS;
    in_batches<AREA, 256>(
        [&](int i) {
            const int y = i / WIDE - T::P, x = i % WIDE - T::P;
            return y >= 0 && y < T::H && x >= 0 && x < T::W ? image[y * T::W + x] : (u8)0;
        },
        [&](int i, u8 grey) { to[i] = grey * (1.0f / 255.0f); });
}

// Grid: samples, groups of 32 filters.
template <class T>
__device__ __forceinline__ void image_conv_forward(const Step *step, const float *weight, const float *bias, float *y, u8 *maximum,
                                                   int layer, float rate) {
    enum { WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE, POOL = T::AFTER == RELU_POOL };
    __shared__ float image[AREA];
    const int sample = blockIdx.x, f = blockIdx.y * 32 + threadIdx.x % 32;
    if (sample >= step->count) return;
    lay_out_image<T>(image, step, sample);
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
        if (POOL) finish.window(sample * T::PH * T::PW + cell, f, sums[0], sums[POOL ? 1 : 0], sums[POOL ? 2 : 0], sums[POOL ? 3 : 0]);
        else finish.position(sample * T::PH * T::PW + cell, f, sums[0]);
    }
}

// Partial sums. Grid: groups of 32 filters, 1, shares of the work, which is cut into `PARTS` for each sample: each share takes every
// `gridDim.z`-th part, and those without one write nothing.
template <class T, int PARTS>
__device__ __forceinline__ void image_conv_weight_gradient(const Step *step, const float *y, const u8 *maximum, const float *slope,
                                                           float *partial, int layer, float rate) {
    enum {
        WIDE = T::W + 2 * T::P, AREA = (T::H + 2 * T::P) * WIDE, POOL = T::AFTER == RELU_POOL, CELLS = T::PH * T::PW,
        PART = (CELLS + PARTS - 1) / PARTS
    };
    __shared__ float image[AREA];
    __shared__ float gathered[8][32];
    const int parts = step->count * PARTS, lane = threadIdx.x % 32, warp = threadIdx.x / 32, f = blockIdx.x * 32 + lane;
    if (blockIdx.z >= parts) return;
    const float scale = dropout_scale(step, layer, rate);
    float sums[T::TAPS + 1];
#pragma unroll
    for (int tap = 0; tap <= T::TAPS; tap++) sums[tap] = 0.0f;
    for (int part = blockIdx.z; part < parts; part += gridDim.z) {
        const int sample = part / PARTS, first = part % PARTS * PART, end = first + PART < CELLS ? first + PART : CELLS;
        __syncthreads();
        lay_out_image<T>(image, step, sample);
        __syncthreads();
        if (f < T::F)
            for (int cell = first + warp; cell < end; cell += 8 * 4) {
                // Four cells at a time, so that their loads overlap.
                float s[4];
                int where[4];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const bool there = cell + i * 8 < end;
                    const int at = (sample * CELLS + (there ? cell + i * 8 : cell)) * T::F + f;
                    s[i] = there ? slope[at] : 0.0f;
                    where[i] = POOL ? maximum[at] : 0;
                    if (T::AFTER == RELU) s[i] = y[at] > 0.0f ? s[i] * scale : 0.0f;
                }
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    if (POOL && where[i] == DEAD) s[i] = 0.0f;
                    const int at = cell + i * 8 < end ? cell + i * 8 : cell, times = POOL ? 2 : 1, corner = where[i] % DEAD;
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

// Cross-entropy in nats of each sample against smoothed targets, its prediction, and the gradient of the mean by the logits.
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
    const float log_total = logf(total);
    const int label = step->labels[sample];
#pragma unroll
    for (int c = 0; c < CLASSES; c++) {
        const float log_share = values[c] - most - log_total, target = c == label ? hit : spread;
        loss -= target * log_share;
        slope[sample * CLASSES + c] = (expf(log_share) - target) / count;
    }
    step->losses[sample] = loss;
    step->predictions[sample] = best;
}

// ---- Gradients and update ----

// Adds up the partial sums, and sets `bad` if one is not finite. Each block does 16 values of one parameter, whose number and first
// value are in `blocks`; 16 threads share the sum of one value.
extern "C" __global__ void __launch_bounds__(256)
    reduce(const Step *step, const Tensor *tensors, const uint2 *blocks, unsigned *bad) {
    __shared__ float sums[16][16];
    const uint2 block = blocks[blockIdx.x];
    const Tensor tensor = tensors[block.x];
    const unsigned lane = threadIdx.x / 16, column = threadIdx.x % 16, i = block.y + column;
    const unsigned groups = tensor.group ? (step->count * tensor.parts + tensor.group - 1) / tensor.group : tensor.splits;
    const unsigned splits = groups < tensor.splits ? groups : tensor.splits;
    float sum = 0.0f;
    if (i < tensor.len)
#pragma unroll 8
        for (unsigned split = lane; split < splits; split += 16) sum += tensor.partial[split * tensor.stride + i];
    sums[lane][column] = sum;
    __syncthreads();
    if (lane > 0 || i >= tensor.len) return;
    for (int other = 1; other < 16; other++) sum += sums[other][column];
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
