// Vectors of floats in the compiler's own notation, and the functions of them that the kernels share.
//
// An even number of eights goes as sixteens where the processor has registers of that size.

#pragma once

#include "kernels.hpp"

#define CRF_INLINE inline __attribute__((always_inline))

namespace crf {
namespace {

typedef float F4 __attribute__((vector_size(16)));
typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));
#if CRF_REGISTER_FLOATS == 16
typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
#endif

template <class V>
CRF_INLINE V load(const float* p) {
    typedef V Unaligned __attribute__((aligned(4), may_alias));
    return *reinterpret_cast<const Unaligned*>(p);
}
template <class V, class Element>
CRF_INLINE void store(Element* p, V x) {
    typedef V Unaligned __attribute__((aligned(4), may_alias));
    *reinterpret_cast<Unaligned*>(p) = x;
}
// A vector with the same number in each lane.
template <class V>
CRF_INLINE V fill(float x) {
    return x - V{};  // not V{} + x: for x = -0 that is no copy, so the addition would stay
}

#if CRF_REGISTER_FLOATS == 16
// Twenty-four classes, for VOC's twenty-one: two vectors that share their weights.
struct F24 {
    F16 low;
    F8 high;
};
CRF_INLINE F24 operator*(F24 a, F24 b) { return {a.low * b.low, a.high * b.high}; }
CRF_INLINE F24 operator+(F24 a, F24 b) { return {a.low + b.low, a.high + b.high}; }
CRF_INLINE F24& operator+=(F24& a, F24 b) { return a = a + b; }
template <>
CRF_INLINE F24 load<F24>(const float* p) {
    return {load<F16>(p), load<F8>(p + 16)};
}
template <>
CRF_INLINE void store<F24, float>(float* p, F24 x) {
    store(p, x.low);
    store(p + 16, x.high);
}
template <>
CRF_INLINE F24 fill<F24>(float x) {
    const F16 low = (F16)_mm512_set1_ps(x);
    return {low, (F8)_mm512_castps512_ps256((__m512)low)};
}
#endif

// The vector for 8 NV classes (NV = 0: any number): the widest that divides them.
template <int NV>
struct WidestVector {
    using Type = F8;
};
#if CRF_REGISTER_FLOATS == 16
template <>
struct WidestVector<2> {
    using Type = F16;
};
template <>
struct WidestVector<4> {
    using Type = F16;
};
#endif

// Calls work(number) with a constant for the usual numbers of vectors, and with 0 for others.
template <int NV>
struct Constant {
    static constexpr int value = NV;
};
template <class Work>
CRF_INLINE void with_constant(int vectors, const Work& work) {
    switch (vectors) {
        case 1: return work(Constant<1>{});
        case 2: return work(Constant<2>{});
        case 3: return work(Constant<3>{});
        case 4: return work(Constant<4>{});
        default: return work(Constant<0>{});
    }
}

#if CRF_REGISTER_FLOATS >= 8
CRF_INLINE F8 max(F8 a, F8 b) { return (F8)_mm256_max_ps((__m256)a, (__m256)b); }
#else
CRF_INLINE F8 max(F8 a, F8 b) { return a > b ? a : b; }
#endif
CRF_INLINE float max_lane(F8 x) {
    const F4 a = {x[0], x[1], x[2], x[3]}, b = {x[4], x[5], x[6], x[7]}, y = a > b ? a : b;
    const float c = y[0] > y[2] ? y[0] : y[2], d = y[1] > y[3] ? y[1] : y[3];
    return c > d ? c : d;
}
CRF_INLINE float sum_lanes(F8 x) {
    const F4 y = F4{x[0], x[1], x[2], x[3]} + F4{x[4], x[5], x[6], x[7]};
    return (y[0] + y[2]) + (y[1] + y[3]);
}
#if CRF_REGISTER_FLOATS == 16
CRF_INLINE F16 max(F16 a, F16 b) { return (F16)_mm512_max_ps((__m512)a, (__m512)b); }
CRF_INLINE float sum_lanes(F16 x) {
    return sum_lanes((F8)_mm512_castps512_ps256((__m512)x) + (F8)_mm512_extractf32x8_ps((__m512)x, 1));
}
#endif

// e^x as 2^n 2^f, with an error of about 3e-7 for |x| up to 16; below -87 it is that of -87.
template <class V, class I>
CRF_INLINE V exponential_of(V x) {
    const V zero = {};
    x = max(x, zero - 87.f);
    const V shifted = x * (zero + 1.44269504f) + (zero + 12582912.f);  // rounds to a whole number in the low bits
    const V f = x * (zero + 1.44269504f) - (shifted - (zero + 12582912.f));
    V p = zero + 1.327646780e-3f;  // minimax: least largest relative error on -1/2..1/2
    p = p * f + (zero + 9.675540961e-3f);
    p = p * f + (zero + 5.550713465e-2f);
    p = p * f + (zero + 2.402212024e-1f);
    p = p * f + (zero + 6.931469440e-1f);
    p = p * f + (zero + 1.f);
    return (V)((I)p + ((I)shifted << 23));
}
CRF_INLINE F8 exponential(F8 x) { return exponential_of<F8, I8>(x); }
#if CRF_REGISTER_FLOATS == 16
CRF_INLINE F16 exponential(F16 x) { return exponential_of<F16, I16>(x); }
#endif

// log x of positive numbers, as precise as that: the exponent's bits give it to 0.06, two steps of Halley's the rest.
CRF_INLINE F8 logarithm(F8 x) {
    F8 y = __builtin_convertvector((I8)x - 0x3f800000, F8) * fill<F8>(0.69314718f / 8388608.f);
    for (int i = 0; i < 2; ++i) {
        const F8 e = exponential(y);
        y += fill<F8>(2.f) * (x - e) / (x + e);
    }
    return y;
}

#if defined(__clang__)
#define CRF_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CRF_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, I8{__VA_ARGS__})
#endif

// Eight vectors of eight lanes, as rows: exchanges rows and columns.
CRF_INLINE void transpose(F8* r) {
    F8 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = CRF_SHUFFLE(r[i], r[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        a[i + 1] = CRF_SHUFFLE(r[i], r[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            b[i + j] = CRF_SHUFFLE(a[i + j], a[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            b[i + j + 2] = CRF_SHUFFLE(a[i + j], a[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; ++i) {
        r[i] = CRF_SHUFFLE(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4] = CRF_SHUFFLE(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

// The sums of the lanes of eight vectors. Overwrites these.
CRF_INLINE F8 sums_of_lanes(F8* r) {
    for (int count = 8; count > 2; count /= 2)
        for (int i = 0; i < count; i += 2)
            r[i / 2] = CRF_SHUFFLE(r[i], r[i + 1], 0, 2, 8, 10, 4, 6, 12, 14) +
                       CRF_SHUFFLE(r[i], r[i + 1], 1, 3, 9, 11, 5, 7, 13, 15);
    return CRF_SHUFFLE(r[0], r[1], 0, 1, 2, 3, 8, 9, 10, 11) + CRF_SHUFFLE(r[0], r[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

}  // namespace
}  // namespace crf
