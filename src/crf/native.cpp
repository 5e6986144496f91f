// Mean field in a fully connected CRF, on the CPU: permutohedral lattice and fused iterations.
//
// Sources: Kraehenbuehl & Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
// NIPS 2011; Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", EG 2010.
//
// How one image runs (see `Inference::run`):
//   1. scores -> log probabilities, which classes are kept;
//   2. two lattices, bilateral (5-d) and Gaussian (2-d): each tile's simplices, the weights of its pixels in them,
//      chains of neighbours;
//   3. for each iteration: blur along the chains, then tile by tile slice, exponentiate, normalise, and splat into
//      the next lattice. Q is never stored but at the end. Where classes are pruned and labels asked for, pixels that
//      are certain after two iterations keep their label and their share of the messages: see `settle`.
// Lanes: the values of a vertex are its classes, padded to vectors of 8 floats; vectors run over classes.
// Threads share an image by bands of rows. Each band numbers its vertices by itself, so splatting needs no lock;
// a vertex that an earlier band has too is an alias of that one, summed before the blur and copied after it.
//
// The kernels are compiled once for each instruction set by including this file in itself.

#ifndef CRF_LEVEL

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int kLanes = 8;
constexpr int kTile = 64;  // pixels on a side, see Bands
constexpr float kNothing = -1e30f;  // the log probability of lanes that are no class

struct ConstantRow {
    float values[kTile];
    constexpr explicit ConstantRow(float x) : values() {
        for (float& value : values) value = x;
    }
};
constexpr ConstantRow kZeros(0.f), kNoScores(kNothing);

// A simplex of the lattice in which pixels of a tile lie: the slots of its corners, and how many pixels.
template <int Count>
struct Simplex {
    uint32_t at[Count];
    uint32_t pixels;
};

// One of these pixels: how much of each corner, and its place in the tile. Pixels are kept simplex by simplex: the
// values of the corners are then read, and their sums written, once for all of them.
template <int Count>
struct Point {
    float weight[Count];
    uint32_t place;
};

// A tile's part of a lattice.
template <int Count>
struct Points {
    const Simplex<Count>* begin;
    const Simplex<Count>* end;
    const Point<Count>* points;
};

// One row of pixels, embedded: the nearest remainder-0 vertex divided by d + 1, the weights, and the coordinates
// sorted by rank (4 bits each). Arrays are `padded` long, the row rounded up to whole vectors.
struct EmbeddedRow {
    int32_t* base;     // d x padded
    float* weight;     // (d + 1) x padded
    uint32_t* order;   // padded
    int padded;        // length of each of them
    int count;         // pixels
};

struct StepArguments {
    Points<6> bilateral;
    Points<3> gaussian;
    float* values;      // count x vectors x 8: log probabilities, and what becomes of them
    float* rest;        // count: probability of the pruned classes
    const float* from;  // blurred values, bilateral
    const float* from_gaussian;
    float* to;  // sums of the next iteration
    float* to_gaussian;
    int count;  // pixels
    int vectors;
    bool subtract_max;
};

// A part of one row, up-sampled from the score map.
struct RowArguments {
    const float* upper;  // cells x vectors x 8
    const float* lower;
    float* blended;      // cells x vectors x 8
    float* out;          // width x vectors x 8
    const float* less;   // width: taken from all scores of a pixel
    float fraction;
    int cells, width, stride, phase, vectors;
};

struct Kernels {
    const char* name;
    void (*embed5)(const float* const*, const float*, EmbeddedRow);
    void (*embed2)(const float* const*, const float*, EmbeddedRow);
    void (*interpolate)(const RowArguments&);
    void (*gather)(const float* const*, const float*, float*, int, int);
    void (*scatter)(const float*, float* const*, int, int);
    void (*normalise)(float*, float*, float*, int, int, bool);
    void (*first)(const StepArguments&);
    void (*slice)(const StepArguments&);
    void (*splat)(const StepArguments&);
    void (*step)(const StepArguments&);
    void (*last_q)(const StepArguments&, float*);
    void (*best)(const float*, int32_t*, float*, int, int);
    void (*probabilities)(float*, const float*, int, int);
    void (*blur)(float*, const uint32_t*, size_t, int);
};

}  // namespace

#define CRF_LEVEL baseline
#define CRF_WIDTH 4
#include "native.cpp"
#undef CRF_LEVEL
#undef CRF_WIDTH

#if defined(__x86_64__)
#define CRF_LEVEL avx2
#define CRF_WIDTH 8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#include "native.cpp"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef CRF_LEVEL
#undef CRF_WIDTH

#define CRF_LEVEL avx512
#define CRF_WIDTH 16
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw")
#endif
#include "native.cpp"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#undef CRF_LEVEL
#undef CRF_WIDTH
#endif

namespace {

const Kernels& kernels() {
#if defined(__x86_64__)
    static const Kernels& chosen = [&]() -> const Kernels& {
        const char* wanted = std::getenv("CRF_NATIVE_LEVEL");  // for tests: at most this
        const std::string at_most = wanted ? wanted : "avx512";
        __builtin_cpu_init();
        if (at_most == "baseline" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
            return baseline::table;
        if (at_most == "avx2" || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
            !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw"))
            return avx2::table;
        return avx512::table;
    }();
    return chosen;
#else
    return baseline::table;
#endif
}

// Small numbers that no longer matter are slow as denormals: take them as zero in here, as before out there.
class FlushDenormals {
  public:
#if defined(__x86_64__)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before_); }

  private:
    unsigned before_;
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t(1) << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

  private:
    uint64_t before_;
#else
    FlushDenormals() {}
#endif
};

// Memory that is only ever written before it is read, kept by its thread for the next image.
template <class T>
class Array {
  public:
    Array() = default;
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { std::free(data_); }

    // At least `size` elements; their values are lost.
    T* fit(size_t size) {
        if (size > capacity_) {
            std::free(data_);
            data_ = nullptr;
            capacity_ = 0;
            data_ = static_cast<T*>(allocate(bytes(size)));
            capacity_ = bytes(size) / sizeof(T);
        }
        return data_;
    }
    // At least `size` elements, the first `used` of them kept.
    T* grow(size_t size, size_t used) {
        if (size > capacity_) {
            const size_t wanted = bytes(std::max(size, capacity_ * 2));
            T* larger = static_cast<T*>(allocate(wanted));
            if (used) std::memcpy(static_cast<void*>(larger), data_, used * sizeof(T));
            std::free(data_);
            data_ = larger;
            capacity_ = wanted / sizeof(T);
        }
        return data_;
    }
    size_t capacity_bytes() const { return capacity_ * sizeof(T); }
    T* data() const { return data_; }
    T& operator[](size_t i) const { return data_[i]; }

  private:
    static constexpr size_t kHuge = size_t(1) << 21;
    static size_t bytes(size_t size) {
        const size_t unit = size * sizeof(T) >= kHuge ? kHuge : 64;
        return (size * sizeof(T) + unit) / unit * unit;
    }
    static void* allocate(size_t bytes) {
        void* memory = nullptr;
        if (posix_memalign(&memory, bytes >= kHuge ? kHuge : 64, bytes)) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (bytes >= kHuge) madvise(memory, bytes, MADV_HUGEPAGE);  // lattice look-ups are scattered: spare the TLB
#endif
        return memory;
    }
    T* data_ = nullptr;
    size_t capacity_ = 0;
};

// Threads meet here. If one fails, none waits for it.
class Barrier {
  public:
    explicit Barrier(int count) : count_(count) {}
    void wait() {
        if (count_ == 1) return;
        const unsigned round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.fetch_add(1, std::memory_order_release);
            return;
        }
        for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
            if (failed_.load(std::memory_order_relaxed)) throw std::runtime_error("another thread failed");
            if (spins > 2000) std::this_thread::yield();
        }
    }
    void fail() { failed_.store(true); }

  private:
    const int count_;
    std::atomic<int> arrived_{0};
    std::atomic<unsigned> round_{0};
    std::atomic<bool> failed_{false};
};

// ---------------------------------------------------------------------------------------------- lattice

// Lattice coordinates as one number. Packing is linear with bounds worked out beforehand, so a step to a
// neighbour is an addition and nothing can wrap. 64 bits hold the usual widths, 128 the rest.
using Wide = unsigned __int128;

inline size_t hash_of(uint64_t key) { return key * 0x9E3779B97F4A7C15ull; }
inline size_t hash_of(Wide key) { return hash_of(uint64_t(key) ^ hash_of(uint64_t(key >> 64))); }

constexpr uint32_t kNone = 0xFFFFFFFFu;
constexpr uint32_t kChainEnd = 0x80000000u;

template <class Key>
class VertexTable {
  public:
    void clear() {
        bits_ = 15;
        blank();
        count_ = 0;
    }
    uint32_t count() const { return count_; }
    const Key* keys() const { return keys_.data(); }

    // The number of a key, new or known.
    uint32_t insert(Key key) {
        const uint64_t hash = hash_of(key);
        size_t i = hash >> (64 - bits_);
        for (; entries_[i].id != kNone; i = (i + 1) & mask())
            if (entries_[i].tag == uint32_t(hash) && keys_[entries_[i].id] == key) return entries_[i].id;
        entries_[i] = Entry{uint32_t(hash), count_};
        keys_.grow(size_t(count_) + 1, count_)[count_] = key;
        if (++count_ >= kChainEnd / 2) throw std::length_error("too many lattice vertices");
        if (size_t(count_) * 8 > mask() * 5) enlarge();
        return count_ - 1;
    }
    uint32_t find(Key key) const {
        const uint64_t hash = hash_of(key);
        for (size_t i = hash >> (64 - bits_); entries_[i].id != kNone; i = (i + 1) & mask())
            if (entries_[i].tag == uint32_t(hash) && keys_[entries_[i].id] == key) return entries_[i].id;
        return kNone;
    }
    void prefetch(Key key) const { __builtin_prefetch(&entries_[hash_of(key) >> (64 - bits_)]); }
    void prefetch_key(Key key) const {
        const Entry& entry = entries_[hash_of(key) >> (64 - bits_)];
        if (entry.id != kNone) __builtin_prefetch(&keys_[entry.id]);
    }

  private:
    struct Entry {
        uint32_t tag, id;
    };
    size_t mask() const { return (size_t(1) << bits_) - 1; }
    void blank() { std::memset(static_cast<void*>(entries_.fit(size_t(1) << bits_)), 0xFF, sizeof(Entry) << bits_); }
    void enlarge() {
        ++bits_;
        blank();
        for (uint32_t id = 0; id < count_; ++id) {
            const uint64_t hash = hash_of(keys_[id]);
            size_t i = hash >> (64 - bits_);
            while (entries_[i].id != kNone) i = (i + 1) & mask();
            entries_[i] = Entry{uint32_t(hash), id};
        }
    }
    int bits_ = 15;
    Array<Entry> entries_;
    Array<Key> keys_;
    uint32_t count_ = 0;
};

// Says no to most keys that a table does not hold, from few enough bytes to stay in a core's own cache.
template <class Key>
class Filter {
  public:
    void clear(size_t count) {
        bits_ = 16;
        while ((size_t(1) << bits_) < count * 8) ++bits_;
        std::memset(words_.fit((size_t(1) << bits_) / 64), 0, (size_t(1) << bits_) / 8);
    }
    void add(Key key) { words_[index(key) >> 6] |= uint64_t(1) << (index(key) & 63); }
    bool may_hold(Key key) const { return words_[index(key) >> 6] >> (index(key) & 63) & 1; }

  private:
    size_t index(Key key) const { return hash_of(key) >> (64 - bits_); }
    int bits_ = 16;
    Array<uint64_t> words_;
};

struct Alias {
    uint32_t slot, original;
};

// Simplices in order of their numbers of pixels, so that loops over these take the same turns time after time: where
// the next one of a size goes, and its pixels.
class BySize {
  public:
    void count(uint32_t size) {
        if (size >= kMany) return;
        simplices_[size + 1] += 1;
        pixels_[size + 1] += size;
    }
    void sum_up() {
        for (uint32_t size = 1; size <= kMany; ++size) {
            simplices_[size] += simplices_[size - 1];
            pixels_[size] += pixels_[size - 1];
        }
    }
    uint32_t next_simplex(uint32_t size) { return simplices_[std::min(size, kMany)]++; }
    uint32_t next_pixels(uint32_t size) {
        uint32_t& place = pixels_[std::min(size, kMany)];
        place += size;
        return place - size;
    }

  private:
    static constexpr uint32_t kMany = 64;
    uint32_t simplices_[kMany + 1] = {}, pixels_[kMany + 1] = {};
};

// Points of some pixels of some tiles, each tile's by size as well.
template <int Count>
struct OpenPoints {
    // Where a tile's begin.
    struct Place {
        size_t simplex, point;
        uint32_t simplices;
    };
    Array<Point<Count>> points;
    Array<Simplex<Count>> simplices;
    size_t point_count = 0, simplex_count = 0;

    void clear() { point_count = simplex_count = 0; }
    Points<Count> at(const Place& place) const {
        const Simplex<Count>* const begin = simplices.data() + place.simplex;
        return {begin, begin + place.simplices, points.data() + place.point};
    }
    // Those of a tile that have a number, `count` of them, by these.
    Place add(const Points<Count>& all, const uint32_t* numbers, uint32_t count) {
        Place place{simplex_count, point_count, 0};
        BySize by_size;
        for_simplices(all, numbers, [&](const Simplex<Count>&, const Point<Count>*, uint32_t size) {
            by_size.count(size);
            ++place.simplices;
        });
        by_size.sum_up();
        simplex_count += place.simplices;
        point_count += count;
        Simplex<Count>* const to = simplices.grow(simplex_count, place.simplex) + place.simplex;
        Point<Count>* const to_points = points.grow(point_count, place.point) + place.point;
        for_simplices(all, numbers, [&](const Simplex<Count>& simplex, const Point<Count>* point, uint32_t size) {
            Simplex<Count>& open = to[by_size.next_simplex(size)];
            open = simplex;
            open.pixels = size;
            Point<Count>* out = to_points + by_size.next_pixels(size);
            for (const Point<Count>* const end = point + simplex.pixels; point < end; ++point) {
                if (numbers[point->place] == kNone) continue;
                *out = *point;
                out++->place = numbers[point->place];
            }
        });
        return place;
    }

  private:
    template <class Work>
    static void for_simplices(const Points<Count>& all, const uint32_t* numbers, const Work& work) {
        const Point<Count>* point = all.points;
        for (const Simplex<Count>* simplex = all.begin; simplex < all.end; point += simplex->pixels, ++simplex) {
            uint32_t size = 0;
            for (uint32_t n = 0; n < simplex->pixels; ++n) size += numbers[point[n].place] != kNone;
            if (size) work(*simplex, point, size);
        }
    }
};

// What the iterations need of a lattice. A slot is a vertex as a band knows it; originals are blurred.
template <int D>
struct Lattice {
    Array<Point<D + 1>> points;                   // a pixel each, tile by tile; weights with the normalisation
    Array<Simplex<D + 1>> simplices;              // of each tile, from the place of its first pixel on
    std::vector<uint32_t> simplex_count;          // of each tile
    Array<uint32_t> chains[D + 1];                // original slots in order of the direction; last of a chain marked
    size_t chain_length[D + 1] = {};
    std::vector<size_t> cuts[D + 1];              // where each thread's share of the chains begins
    std::vector<std::vector<Alias>> aliases;      // by band
    std::vector<uint32_t> first_slot;             // of each tile: slots first met in tile i are [i], [i + 1)
    size_t slots = 0;
    size_t bytes() const {
        size_t sum = points.capacity_bytes() + simplices.capacity_bytes();
        for (const auto& chain : chains) sum += chain.capacity_bytes();
        return sum;
    }
    Points<D + 1> of(size_t tile, size_t pixel) const {
        const Simplex<D + 1>* const begin = simplices.data() + pixel;
        return {begin, begin + simplex_count[tile], points.data() + pixel};
    }
};

// Pixels are kept and visited tile by tile, so that what lies near in the image lies near in memory: the vertices
// of a tile then stay in a core's own cache. `pixel` is the place of a tile's first, its rows follow one another.
struct Tile {
    int top, left, rows, columns;
    size_t pixel;
    size_t pixels() const { return size_t(rows) * columns; }
};

struct Bands {
    int height, width, count;
    std::vector<Tile> tiles;
    std::vector<size_t> first_tile;  // of each band
    Bands(int h, int w, int n) : height(h), width(w), count(n) {
        size_t pixel = 0;
        for (int t = 0; t < n; ++t) {
            first_tile.push_back(tiles.size());
            const int begin = int(int64_t(h) * t / n), end = int(int64_t(h) * (t + 1) / n);
            for (int y = begin; y < end; y += kTile)
                for (int x = 0; x < w; x += kTile) tiles.push_back({y, x, std::min(kTile, end - y), std::min(kTile, w - x), 0});
            std::sort(tiles.begin() + first_tile[t], tiles.end(), [begin](const Tile& a, const Tile& b) {
                return along_curve((a.top - begin) / kTile, a.left / kTile) < along_curve((b.top - begin) / kTile, b.left / kTile);
            });
            for (size_t i = first_tile[t]; i < tiles.size(); ++i) {
                tiles[i].pixel = pixel;
                pixel += tiles[i].pixels();
            }
        }
        first_tile.push_back(tiles.size());
    }
    // The place of a tile on Morton's curve, which keeps neighbours in both directions near.
    static uint64_t along_curve(int row, int column) {
        uint64_t place = 0;
        for (int bit = 0; bit < 20; ++bit) place |= uint64_t(row >> bit & 1) << (2 * bit + 1) | uint64_t(column >> bit & 1) << (2 * bit);
        return place;
    }
    size_t pixel(int band) const {
        const size_t tile = first_tile[band];
        return tile < tiles.size() ? tiles[tile].pixel : size_t(height) * width;
    }
};

// Builds a lattice; all threads call each method with their band, and meet in between.
template <int D, class Key>
class Builder {
  public:
    // A simplex met before: its nearest remainder-0 vertex and order of coordinates name it.
    struct Known {
        Key base;
        uint32_t order;
        uint32_t number;  // among those of the tile where it was met last
        size_t tile;
        uint32_t at[D + 1];
    };
    struct Corner {
        Key key;
        uint32_t number;
    };
    struct Band {
        VertexTable<Key> table;
        Array<Corner> bases;   // first corners, the last one of each hash: most are soon met again
        Array<Known> memo;     // the last one of each hash
        Array<uint32_t> next;  // count x (d + 1): the neighbour in each direction, as far as a simplex shows it
        Array<float> weights;
        Array<int32_t> coordinates;
        Array<uint32_t> order;
        Array<Key> base;
        Array<Simplex<D + 1>> simplices;  // of a tile, in the order they are met
        Array<uint32_t> simplex_of;       // of each pixel of a tile
        Array<Point<D + 1>> points;       // of a tile, row by row
        Array<uint32_t> place;            // of a simplex' next pixel
    };

    // low, high: bounds of every feature, in units of the kernel's width.
    static bool fits(const float* low, const float* high) { return multipliers(low, high, nullptr, nullptr); }

    void begin(const float* low, const float* high, const Bands& bands, Lattice<D>& lattice) {
        bands_ = &bands;
        lattice_ = &lattice;
        multipliers(low, high, multiplier_, &bias_);
        Key all = 0;
        for (int i = 0; i < D; ++i) all += multiplier_[i];
        for (int i = 0; i < D; ++i) step_[i] = all - multiplier_[i] * (D + 1);
        step_[D] = all;
        while (int(band_.size()) < bands.count) band_.emplace_back(new Band);
        lattice.points.fit(size_t(bands.height) * bands.width);
        lattice.simplices.fit(size_t(bands.height) * bands.width);
        lattice.simplex_count.assign(bands.tiles.size(), 0);
        lattice.aliases.assign(bands.count, {});
        lattice.first_slot.assign(bands.tiles.size() + 1, 0);
        base_.assign(bands.count + 1, 0);
    }

    // load(y, x, count, features): the d features of `count` pixels from (y, x), each array with anything finite
    // up to the next whole vector.
    template <class Load>
    void embed(int t, const Load& load) {
        Band& band = *band_[t];
        band.table.clear();
        std::memset(static_cast<void*>(band.memo.fit(size_t(1) << kMemoBits)), 0xFF, sizeof(Known) << kMemoBits);
        std::memset(static_cast<void*>(band.bases.fit(size_t(1) << kMemoBits)), 0xFF, sizeof(Corner) << kMemoBits);
        band.order.fit(kTile);
        band.base.fit(kTile);
        band.weights.fit(kTile * (D + 1));
        band.coordinates.fit(kTile * D);
        band.simplices.fit(kTile * kTile);
        band.simplex_of.fit(kTile * kTile);
        band.points.fit(kTile * kTile);
        band.place.fit(kTile * kTile);
        for (size_t i = bands_->first_tile[t]; i < bands_->first_tile[t + 1]; ++i) {
            lattice_->first_slot[i] = band.table.count();
            embed_tile(band, i, load);
        }
    }

    // One thread: which slots are aliases of an earlier band's.
    void merge() {
        size_t total = 0;
        for (int t = 0; t < bands_->count; ++t) {
            base_[t] = uint32_t(total);
            total += band_[t]->table.count();
        }
        base_[bands_->count] = uint32_t(total);
        if (total >= kChainEnd) throw std::length_error("too many lattice vertices");
        lattice_->slots = total;
        lattice_->first_slot[bands_->tiles.size()] = uint32_t(total);
        original_.fit(total);
        key_.fit(total);
        filter_.clear(total);
        for (int t = 0; t < bands_->count; ++t) {
            const VertexTable<Key>& own = band_[t]->table;
            std::copy_n(own.keys(), own.count(), key_.data() + base_[t]);
            for (uint32_t i = 0; i < own.count(); ++i) {
                const Key key = own.keys()[i];
                const uint32_t slot = base_[t] + i, known = filter_.may_hold(key) ? find_before(t, key) : kNone;
                original_[slot] = known == kNone ? slot : known;
                if (known == kNone)
                    filter_.add(key);
                else
                    lattice_->aliases[t].push_back({slot, known});
            }
        }
    }

    // Tiles learn their slots' final numbers, and thread t finds the chains of its directions.
    void link(int t) {
        for (size_t i = bands_->first_tile[t]; i < bands_->first_tile[t + 1]; ++i) lattice_->first_slot[i] += base_[t];
        look_around(t);
        for (int j = t; j <= D; j += bands_->count) link_direction(j);
    }

    // The sums of the kernel, filtered from ones, give each weight its share of D^-1/2 K D^-1/2; all threads.
    void normalise(int t, Array<float>& ones, float weight, Barrier& barrier) {
        Lattice<D>& lattice = *lattice_;
        if (t == 0) ones.fit(lattice.slots);
        barrier.wait();
        std::fill_n(ones.data() + base_[t], base_[t + 1] - base_[t], 0.f);
        float* const own = ones.data() + base_[t];
        for_simplices(t, [&](Simplex<D + 1>& simplex, Point<D + 1>* point) {
            float sum[D + 1] = {};
            for (uint32_t n = 0; n < simplex.pixels; ++n)
                for (int k = 0; k <= D; ++k) sum[k] += point[n].weight[k];
            for (int k = 0; k <= D; ++k) own[simplex.at[k]] += sum[k];
        });
        barrier.wait();
        for (int s = 1; s < bands_->count; ++s) {
            if (t == 0)
                for (const Alias& a : lattice.aliases[s]) ones[a.original] += ones[a.slot];
        }
        barrier.wait();
        for (int j = 0; j <= D; ++j) {
            const uint32_t* const chain = lattice.chains[j].data();
            float before = 0;
            for (size_t i = lattice.cuts[j][t]; i < lattice.cuts[j][t + 1]; ++i) {
                const bool last = chain[i] & kChainEnd;
                const uint32_t v = chain[i] & ~kChainEnd;
                const float here = ones[v];
                const float after = last ? 0.f : ones[chain[i + 1] & ~kChainEnd];
                ones[v] = here + 0.5f * (before + after);
                before = last ? 0.f : here;
            }
            barrier.wait();
        }
        for (const Alias& a : lattice.aliases[t]) ones[a.slot] = ones[a.original];
        for_simplices(t, [&](Simplex<D + 1>& simplex, Point<D + 1>* point) {
            float corner[D + 1];
            for (int k = 0; k <= D; ++k) {
                corner[k] = own[simplex.at[k]];
                simplex.at[k] += base_[t];
            }
            for (uint32_t n = 0; n < simplex.pixels; ++n) {
                float sum = 0;
                for (int k = 0; k <= D; ++k) sum += point[n].weight[k] * corner[k];
                const float scale = std::sqrt(weight / (sum + 1e-20f));
                for (int k = 0; k <= D; ++k) point[n].weight[k] *= scale;
            }
        });
        barrier.wait();
    }

  private:
    static constexpr int kMemoBits = 10;

    template <class Work>
    void for_simplices(int t, const Work& work) {
        for (size_t i = bands_->first_tile[t]; i < bands_->first_tile[t + 1]; ++i) {
            const size_t pixel = bands_->tiles[i].pixel;
            Simplex<D + 1>* const begin = lattice_->simplices.data() + pixel;
            Point<D + 1>* point = lattice_->points.data() + pixel;
            for (Simplex<D + 1>* simplex = begin; simplex < begin + lattice_->simplex_count[i]; ++simplex) {
                work(*simplex, point);
                point += simplex->pixels;
            }
        }
    }

    template <class Load>
    void embed_tile(Band& band, size_t number, const Load& load) {
        const Tile& tile = bands_->tiles[number];
        float scale[D];
        for (int i = 0; i < D; ++i) scale[i] = float((D + 1) * std::sqrt(2.0 / 3.0) / std::sqrt((i + 1.0) * (i + 2.0)));
        Key multiplier[D];
        for (int i = 0; i < D; ++i) multiplier[i] = multiplier_[i] * (D + 1);
        const Key bias = bias_;
        auto* const embed_row = D == 5 ? kernels().embed5 : kernels().embed2;
        const int count = tile.columns;
        Key* const base = band.base.data();
        const uint32_t* const order = band.order.data();
        const EmbeddedRow row{band.coordinates.data(), band.weights.data(), band.order.data(), kTile, count};
        uint32_t met = 0;
        for (int y = 0; y < tile.rows; ++y) {
            const float* features[D];
            load(tile.top + y, tile.left, count, features);
            embed_row(features, scale, row);
            Point<D + 1>* const points = &band.points[size_t(y) * count];
            uint32_t* const simplex_of = &band.simplex_of[size_t(y) * count];
            for (int x = 0; x < count; ++x) {
                Key key = bias;
                for (int i = 0; i < D; ++i) key += Key(int64_t(row.base[i * kTile + x])) * multiplier[i];
                base[x] = key;
                for (int k = 0; k <= D; ++k) points[x].weight[k] = row.weight[k * kTile + x];
                points[x].place = uint32_t(y * count + x);
            }
            for (int x = 0; x < count; ++x) {
                Known& known = band.memo[hash_of(Key(base[x] + Key(order[x]) * 0x9E3779B1u)) >> (64 - kMemoBits)];
                if (known.base != base[x] || known.order != order[x]) {
                    find_corners(band, base[x], order[x], known.at);
                    known.base = base[x];
                    known.order = order[x];
                    known.tile = ~number;
                }
                if (known.tile != number) {
                    known.tile = number;
                    known.number = met++;
                    Simplex<D + 1>& simplex = band.simplices[known.number];
                    std::memcpy(simplex.at, known.at, sizeof simplex.at);
                    simplex.pixels = 0;
                }
                ++band.simplices[known.number].pixels;
                simplex_of[x] = known.number;
            }
        }
        arrange(band, tile, met);
        lattice_->simplex_count[number] = met;
    }

    // Pixels in order of their simplices.
    void arrange(Band& band, const Tile& tile, uint32_t met) {
        BySize by_size;
        for (uint32_t i = 0; i < met; ++i) by_size.count(band.simplices[i].pixels);
        by_size.sum_up();
        Simplex<D + 1>* const simplices = lattice_->simplices.data() + tile.pixel;
        for (uint32_t i = 0; i < met; ++i) {
            const Simplex<D + 1>& simplex = band.simplices[i];
            simplices[by_size.next_simplex(simplex.pixels)] = simplex;
            band.place[i] = by_size.next_pixels(simplex.pixels);
        }
        Point<D + 1>* const points = lattice_->points.data() + tile.pixel;
        for (uint32_t i = 0; i < tile.pixels(); ++i) points[band.place[band.simplex_of[i]]++] = band.points[i];
    }

    // From corner to corner of a simplex is one step along each direction in turn: where an earlier simplex took that
    // step, its end is known without a look-up; the first corner, where it was met lately.
    void find_corners(Band& band, Key base, uint32_t order, uint32_t* at) {
        Corner& first = band.bases[hash_of(base) >> (64 - kMemoBits)];
        if (first.key != base) first = Corner{base, kNone};
        uint32_t* link = &first.number;
        Key key = base;
        for (int k = 0; k <= D; ++k) {
            uint32_t corner = *link;
            if (corner == kNone) {
                const uint32_t before = band.table.count();
                corner = band.table.insert(key);
                *link = corner;
                if (corner == before) {
                    const size_t place = size_t(corner) * (D + 1);
                    std::memset(band.next.grow(place + D + 1, place) + place, 0xFF, 4 * (D + 1));
                }
            }
            const int direction = order >> (4 * (D - k)) & 15;
            at[k] = corner;
            link = &band.next[size_t(corner) * (D + 1) + direction];
            key += step_[direction];
        }
        *link = at[0];
    }

    uint32_t find_before(int t, Key key) const {
        for (int s = 0; s < t; ++s) {
            const uint32_t known = band_[s]->table.find(key);
            if (known != kNone) return original_[base_[s] + known];
        }
        return kNone;
    }

    // What simplices and the filter know of the neighbours, for the directions t, t + threads, ...
    void look_around(int t) {
        constexpr uint32_t kBlock = 512;  // of slots, whose neighbours stay in a core's own cache from direction to direction
        const uint32_t slots = uint32_t(lattice_->slots);
        for (int j = t; j <= D; j += bands_->count) {
            next_[j].fit(slots);
            doubtful_[j].fit(slots + 1);
            std::memset(preceded_[j].fit(slots + 1), 0, slots);
            doubts_[j] = 0;
        }
        for (int s = 0; s < bands_->count; ++s)
            for (uint32_t begin = base_[s]; begin < base_[s + 1]; begin += kBlock)
                for (int j = t; j <= D; j += bands_->count)
                    look_along(j, s, begin, std::min(begin + kBlock, base_[s + 1]));
    }

    // No branches: half of the answers are no, without a pattern.
    void look_along(int j, int s, uint32_t begin, uint32_t end) {
        const uint32_t* shown = &band_[s]->next[size_t(begin - base_[s]) * (D + 1) + j];
        const uint32_t* const original = original_.data();
        const Key* const keys = key_.data();
        const Key step = step_[j];
        const uint32_t base = base_[s], none = uint32_t(lattice_->slots);
        uint32_t* const next = next_[j].data();
        uint32_t* const doubtful = doubtful_[j].data();
        uint8_t* const preceded = preceded_[j].data();
        size_t doubts = doubts_[j], unknown = doubts;
        for (uint32_t i = begin; i < end; ++i, shown += D + 1) {
            uint32_t near = *shown;
            if (s > 0) {  // the first band's are all originals
                const bool shows = (original[i] == i) & (near != kNone);
                near = shows ? original[base + (shows ? near : 0)] : kNone;
            }
            next[i] = near;
            doubtful[unknown] = i;
            unknown += near == kNone;
        }
        for (uint32_t i = begin; i < end; ++i) preceded[std::min(next[i], none)] = 1;
        for (size_t k = doubts; k < unknown; ++k) {
            const uint32_t i = doubtful[k];
            doubtful[doubts] = i;
            doubts += (original[i] == i) & filter_.may_hold(keys[i] + step);
        }
        doubts_[j] = doubts;
    }

    void link_direction(int j) {
        const uint32_t slots = uint32_t(lattice_->slots);
        uint32_t* const next = next_[j].data();
        uint8_t* const preceded = preceded_[j].data();
        uint32_t* const doubtful = doubtful_[j].data();
        const Key step = step_[j];
        const VertexTable<Key>& table = band_[0]->table;
        for (size_t i = 0; i < doubts_[j]; ++i) {
            if (i + 32 < doubts_[j]) table.prefetch(key_[doubtful[i + 32]] + step);
            if (i + 16 < doubts_[j]) table.prefetch_key(key_[doubtful[i + 16]] + step);
            const uint32_t near = find_before(bands_->count, key_[doubtful[i]] + step);
            next[doubtful[i]] = near;
            if (near != kNone) preceded[near] = 1;
        }
        uint32_t* const chain = lattice_->chains[j].fit(slots);
        std::vector<size_t>& cuts = lattice_->cuts[j];
        size_t length = 0;
        cuts.assign(1, 0);
        uint32_t* const starts = doubtful;
        uint32_t chains = 0;
        for (uint32_t i = 0; i < slots; ++i) {  // not those inside a chain, nor those alone: the blur leaves them as they are
            starts[chains] = i;
            chains += !preceded[i] & (next[i] != kNone);
        }
        for (uint32_t i = 0; i < chains; ++i) {
            // A walk waits for memory at every step, and chains are short: fetch those of later chains meanwhile.
            if (i + 24 < chains) __builtin_prefetch(&next[next[starts[i + 24]]]);
            if (i + 16 < chains) {
                const uint32_t third = next[next[starts[i + 16]]];
                if (third != kNone) __builtin_prefetch(&next[third]);
            }
            for (uint32_t v = starts[i]; v != kNone; v = next[v]) chain[length++] = v;
            chain[length - 1] |= kChainEnd;
        }
        lattice_->chain_length[j] = length;
        for (int s = 1; s < bands_->count; ++s) {
            size_t cut = std::max(cuts.back(), length * s / bands_->count);
            while (cut > cuts.back() && cut < length && !(chain[cut - 1] & kChainEnd)) ++cut;
            cuts.push_back(cut);
        }
        cuts.push_back(length);
    }

    // Coordinates of the lattice are linear in the features, so bounds of those bound these.
    static bool multipliers(const float* low, const float* high, Key* multiplier, Key* bias) {
        double below[D + 1] = {}, above[D + 1] = {};
        for (int i = 0; i < D; ++i) {
            const double scale = (D + 1) * std::sqrt(2.0 / 3.0) / std::sqrt((i + 1.0) * (i + 2.0));
            for (int j = 0; j <= i; ++j) {
                below[j] += scale * low[i];
                above[j] += scale * high[i];
            }
            below[i + 1] -= (i + 1) * scale * high[i];
            above[i + 1] -= (i + 1) * scale * low[i];
        }
        double volume = 1;
        for (int i = D - 1; i >= 0; --i) {
            const double from = (std::floor(below[i] / (D + 1)) - 4) * (D + 1);
            const double span = (std::ceil(above[i] / (D + 1)) + 4) * (D + 1) - from + 1;
            if (multiplier) {
                multiplier[i] = Key(volume);
                *bias = i == D - 1 ? Key(0) : *bias;
                *bias += Key(int64_t(-from)) * multiplier[i];
            }
            // Multipliers are rounded up to powers of two where they no longer fit a double's digits.
            volume *= std::exp2(std::ceil(std::log2(span)));
        }
        return volume < std::exp2(double(sizeof(Key) * 8 - 1));
    }

    const Bands* bands_ = nullptr;
    Lattice<D>* lattice_ = nullptr;
    Key multiplier_[D] = {}, step_[D + 1] = {}, bias_ = 0;
    std::vector<std::unique_ptr<Band>> band_;
    std::vector<uint32_t> base_;
    Array<Key> key_;
    Filter<Key> filter_;
    Array<uint32_t> original_;  // of each slot
    Array<uint32_t> next_[D + 1], doubtful_[D + 1];
    Array<uint8_t> preceded_[D + 1];
    size_t doubts_[D + 1] = {};
};

// Float arithmetic places a point in its simplex as long as coordinates stay well below 2^24.
constexpr double kLargestFeature = 1 << 19;

// ---------------------------------------------------------------------------------------------- inference

struct Request {
    const void* image;  // 3 x height x width
    bool image_is_float;
    int height, width;
    const float* scores;  // classes x rows x columns; stride 0: as large as the image
    int classes, rows, columns, stride;
    float w1, sy, sx, srgb, w2, sg;
    int iterations;
    float prune;
    int threads;
    float* q;          // one of the three
    uint8_t* labels8;
    int64_t* labels64;
};

struct Workspace {
    Builder<5, uint64_t> builder;
    Lattice<5> bilateral;
    Array<float> ones, unary, lse, rest, values[2], settled, map, kept_map;
    struct PerThread {
        Array<float> row, blended, features, largest, values, scale, most, open_scores;
        Array<int32_t> best;
        Array<uint32_t> numbers;
        Array<uint16_t> open_pixels;
        OpenPoints<6> open_bilateral;
        OpenPoints<3> open_gaussian;
        std::vector<const float*> planes;
        std::vector<float*> out_planes;
    };
    std::vector<std::unique_ptr<PerThread>> threads;
};

// The Gaussian lattice depends on the size of the image alone. A few are kept, up to a number of bytes. Threads
// only hold the lock to copy a pointer; where it stays taken (the child of a fork), do without.
class GaussianCache {
  public:
    struct Key {
        int height, width, bands;
        float w2, sg;
        bool operator==(const Key& o) const {
            return height == o.height && width == o.width && bands == o.bands && w2 == o.w2 && sg == o.sg;
        }
    };
    using Value = std::shared_ptr<const Lattice<2>>;

    Value get(const Key& key) {
        std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
        if (!take(lock)) return nullptr;
        for (auto i = entries_.begin(); i != entries_.end(); ++i) {
            if (!(i->first == key)) continue;
            entries_.splice(entries_.begin(), entries_, i);
            return entries_.front().second;
        }
        return nullptr;
    }
    void put(const Key& key, Value value) {
        constexpr size_t kBytes = size_t(128) << 20, kEntries = 16;
        std::list<std::pair<Key, Value>> node, dropped;  // freed after the lock
        node.emplace_back(key, std::move(value));
        if (node.front().second->bytes() > kBytes / 2) return;
        std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
        if (!take(lock)) return;
        for (const auto& entry : entries_)
            if (entry.first == key) return;
        entries_.splice(entries_.begin(), node);
        size_t bytes = 0;
        for (const auto& entry : entries_) bytes += entry.second->bytes();
        while (bytes > kBytes || entries_.size() > kEntries) {
            bytes -= entries_.back().second->bytes();
            dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
        }
    }

  private:
    static bool take(std::unique_lock<std::mutex>& lock) {
        for (int tries = 0; tries < 1000; ++tries) {
            if (lock.try_lock()) return true;
            std::this_thread::yield();
        }
        return false;
    }
    std::mutex mutex_;
    std::list<std::pair<Key, Value>> entries_;
};

GaussianCache& gaussian_cache() {
    static GaussianCache* cache = new GaussianCache;  // never destroyed: threads may outlive static destructors
    return *cache;
}

template <class Work>
void in_threads(int count, Barrier& barrier, const Work& work) {
    std::exception_ptr error;
    std::mutex error_lock;
    auto guarded = [&](int t) {
        FlushDenormals flush;
        try {
            work(t);
        } catch (...) {
            {
                std::lock_guard<std::mutex> lock(error_lock);
                if (!error) error = std::current_exception();
            }
            barrier.fail();
        }
    };
    std::vector<std::thread> others;
    for (int t = 1; t < count; ++t) others.emplace_back(guarded, t);
    guarded(0);
    for (auto& thread : others) thread.join();
    if (error) std::rethrow_exception(error);
}

class Inference {
  public:
    Inference(const Request& request, Workspace& workspace)
        : r_(request),
          w_(workspace),
          bands_(request.height, request.width, request.threads),
          doubt_(std::min(0.1f * std::min(request.prune, 0.01f), std::exp(-request.w1 - request.w2))),
          barrier_(request.threads) {
        for (int c = 0; c < r_.classes; ++c) every_.numbers.push_back(c);
        every_.map = &w_.map;
        kept_.map = &w_.kept_map;
    }

    void run() {
        const size_t pixels = size_t(r_.height) * r_.width;
        w_.lse.fit(pixels);
        if (r_.stride) pad_score_map(every_);
        if (stores_at_once()) w_.unary.fit(pixels * every_.lanes());
        while (int(w_.threads.size()) < bands_.count) w_.threads.emplace_back(new Workspace::PerThread);

        const float side = 255.f / r_.srgb;
        const float low[5] = {0, 0, 0, 0, 0};
        const float high[5] = {(r_.width - 1) / r_.sx, (r_.height - 1) / r_.sy, side, side, side};
        const float high2[2] = {(r_.width - 1) / r_.sg, (r_.height - 1) / r_.sg};
        for (float x : high)
            if (!(x < kLargestFeature)) throw std::invalid_argument("sxy or srgb is too small for an image of this size");
        for (float x : high2)
            if (!(x < kLargestFeature)) throw std::invalid_argument("sg is too small for an image of this size");

        if (!Builder<2, uint64_t>::fits(low, high2)) throw std::invalid_argument("sg is too small for an image of this size");
        const GaussianCache::Key key{r_.height, r_.width, bands_.count, r_.w2, r_.sg};
        gaussian_ = gaussian_cache().get(key);
        if (!gaussian_) {
            gaussian_ = build_gaussian(low, high2);
            gaussian_cache().put(key, gaussian_);
        }
        if (Builder<5, uint64_t>::fits(low, high)) {
            infer(w_.builder, low, high);
        } else {
            auto builder = std::make_unique<Builder<5, Wide>>();
            if (!Builder<5, Wide>::fits(low, high)) throw std::invalid_argument("sxy or srgb is too small");
            infer(*builder, low, high);
        }
    }

  private:
    template <class Key>
    void infer(Builder<5, Key>& builder, const float* low, const float* high) {
        builder.begin(low, high, bands_, w_.bilateral);
        in_threads(bands_.count, barrier_, [&](int t) {
            normalise_scores(t);
            builder.embed(t, [&](int y, int left, int count, const float** f) { bilateral_row(t, y, left, count, f); });
            barrier_.wait();
            if (t == 0) {
                choose_classes();
                builder.merge();
                allocate();
            }
            barrier_.wait();
            builder.link(t);
            barrier_.wait();
            builder.normalise(t, w_.ones, r_.w1, barrier_);
            iterate(t);
        });
    }

    std::shared_ptr<const Lattice<2>> build_gaussian(const float* low, const float* high) {
        auto lattice = std::make_shared<Lattice<2>>();
        Builder<2, uint64_t> builder;
        Barrier barrier(bands_.count);
        builder.begin(low, high, bands_, *lattice);
        in_threads(bands_.count, barrier, [&](int t) {
            builder.embed(t, [&](int y, int left, int count, const float** features) {
                const int padded = (count + kLanes - 1) / kLanes * kLanes;
                float* const row = w_.threads[t]->features.fit(size_t(kFeatureRow) * 2);
                for (int x = 0; x < padded; ++x) row[x] = std::min(left + x, r_.width - 1) / r_.sg;
                std::fill_n(row + kFeatureRow, padded, y / r_.sg);
                features[0] = row;
                features[1] = row + kFeatureRow;
            });
            barrier.wait();
            if (t == 0) builder.merge();
            barrier.wait();
            builder.link(t);
            barrier.wait();
            builder.normalise(t, w_.ones, r_.w2, barrier);
        });
        return lattice;
    }

    static constexpr int kFeatureRow = kTile + kLanes;

    void bilateral_row(int t, int y, int left, int count, const float** features) {
        const int padded = (count + kLanes - 1) / kLanes * kLanes;
        float* const row = w_.threads[t]->features.fit(size_t(kFeatureRow) * 5);
        for (int i = 0; i < 5; ++i) features[i] = row + size_t(i) * kFeatureRow;
        for (int x = 0; x < padded; ++x) row[x] = std::min(left + x, r_.width - 1) / r_.sx;
        std::fill_n(row + kFeatureRow, padded, y / r_.sy);
        const size_t plane = size_t(r_.height) * r_.width, offset = size_t(y) * r_.width + left;
        for (int c = 0; c < 3; ++c) {
            float* const out = row + size_t(2 + c) * kFeatureRow;
            if (r_.image_is_float) {
                const float* const in = static_cast<const float*>(r_.image) + plane * c + offset;
                for (int x = 0; x < count; ++x) out[x] = in[x] / r_.srgb;
            } else {
                const uint8_t* const in = static_cast<const uint8_t*>(r_.image) + plane * c + offset;
                for (int x = 0; x < count; ++x) out[x] = float(in[x]) / r_.srgb;
            }
            for (int x = count; x < padded; ++x) out[x] = out[count - 1];
        }
    }

    // Classes that share a vertex or a pixel, padded to whole vectors, and the score map of these, classes innermost.
    struct Classes {
        std::vector<int> numbers;
        Array<float>* map;
        int count() const { return int(numbers.size()); }
        int vectors() const { return (count() + kLanes - 1) / kLanes; }
        size_t lanes() const { return size_t(vectors()) * kLanes; }
    };

    void pad_score_map(const Classes& classes) {
        const size_t cells = size_t(r_.rows) * r_.columns, lanes = classes.lanes();
        float* const out = classes.map->fit(cells * lanes);
        for (size_t k = 0; k < lanes; ++k) {
            const float* const in = k < size_t(classes.count()) ? r_.scores + classes.numbers[k] * cells : nullptr;
            for (size_t i = 0; i < cells; ++i) out[i * lanes + k] = in ? in[i] : kNothing;
        }
    }

    // The scores of a row of a tile, classes innermost; `less` is taken from all those of a pixel.
    void score_row(int t, const Tile& tile, int i, const Classes& classes, const float* less, float* out) {
        const int y = tile.top + i;
        if (r_.stride) {
            const int upper = y / r_.stride, lower = std::min(upper + 1, r_.rows - 1), left = tile.left / r_.stride;
            RowArguments a;
            a.upper = classes.map->data() + (size_t(upper) * r_.columns + left) * classes.lanes();
            a.lower = classes.map->data() + (size_t(lower) * r_.columns + left) * classes.lanes();
            a.cells = std::min((tile.left + tile.columns - 1) / r_.stride + 2, r_.columns) - left;
            a.blended = w_.threads[t]->blended.fit(size_t(a.cells) * classes.lanes());
            a.out = out;
            a.less = less;
            a.fraction = float(y % r_.stride) / r_.stride;
            a.phase = tile.left % r_.stride;
            a.width = tile.columns;
            a.stride = r_.stride;
            a.vectors = classes.vectors();
            kernels().interpolate(a);
            return;
        }
        std::vector<const float*>& planes = w_.threads[t]->planes;
        planes.assign(classes.lanes(), kNoScores.values);
        for (int k = 0; k < classes.count(); ++k)
            planes[k] = r_.scores + (size_t(classes.numbers[k]) * r_.height + y) * r_.width + tile.left;
        kernels().gather(planes.data(), less, out, tile.columns, classes.vectors());
    }

    // The tiles of a band, with their numbers.
    template <class Work>
    void for_tiles(int t, const Work& work) {
        for (size_t i = bands_.first_tile[t]; i < bands_.first_tile[t + 1]; ++i) work(bands_.tiles[i], i);
    }

    // Scores as large as the image, all of them kept, are stored as log probabilities the first time they are met.
    bool stores_at_once() const { return !r_.stride && !(r_.prune > 0); }

    void normalise_scores(int t) {
        Workspace::PerThread& own = *w_.threads[t];
        own.row.fit(kTile * every_.lanes());
        float* const largest = own.largest.fit(every_.lanes());
        std::fill_n(largest, every_.lanes(), kNothing);
        for_tiles(t, [&](const Tile& tile, size_t) {
            for (int i = 0; i < tile.rows; ++i) {
                const size_t pixel = tile.pixel + size_t(i) * tile.columns;
                float* const row = stores_at_once() ? &w_.unary[pixel * every_.lanes()] : own.row.data();
                score_row(t, tile, i, every_, kZeros.values, row);
                kernels().normalise(row, &w_.lse[pixel], largest, tile.columns, every_.vectors(), stores_at_once());
            }
        });
    }

    void choose_classes() {
        is_kept_.assign(r_.classes, 0);
        const float least = r_.prune > 0 ? std::log(r_.prune) : -INFINITY;
        for (int c = 0; c < r_.classes; ++c) {
            float largest = -INFINITY;
            for (int t = 0; t < bands_.count; ++t) largest = std::max(largest, w_.threads[t]->largest[c]);
            if (largest >= least - 1e-5f) {
                kept_.numbers.push_back(c);
                is_kept_[c] = 1;
            }
        }
        if (r_.stride) pad_score_map(kept_);
    }

    void allocate() {
        const size_t pixels = size_t(r_.height) * r_.width, lanes = kept_.lanes();
        if (!r_.stride && !stores_at_once()) w_.unary.fit(pixels * lanes);
        w_.rest.fit(pixels);
        for (auto& values : w_.values) values.fit((w_.bilateral.slots + gaussian_->slots) * lanes);
        gaussian_at_ = w_.bilateral.slots * lanes;
        for (int t = 0; t < bands_.count; ++t) w_.threads[t]->values.fit(kTile * kTile * lanes);
        if (!may_settle()) return;
        w_.settled.fit((w_.bilateral.slots + gaussian_->slots) * lanes);
        next_open_.resize(bands_.tiles.size());
        for (int t = 0; t < bands_.count; ++t) {
            w_.threads[t]->open_bilateral.clear();
            w_.threads[t]->open_gaussian.clear();
        }
    }

    bool may_settle() const { return r_.prune > 0 && !r_.q && r_.iterations > kSettling && doubt_ > 1e-7f; }

    // A tile's log probabilities; up-sampled each time: that is as soon done as read from memory.
    void tile_scores(int t, const Tile& tile, float* out) {
        const size_t lanes = kept_.lanes();
        if (!r_.stride) {
            std::memcpy(out, &w_.unary[tile.pixel * lanes], tile.pixels() * lanes * sizeof(float));
            return;
        }
        for (int i = 0; i < tile.rows; ++i) {
            const size_t pixel = size_t(i) * tile.columns;
            score_row(t, tile, i, kept_, &w_.lse[tile.pixel + pixel], out + pixel * lanes);
        }
    }

    // What an iteration needs of a tile: the pixels that are not settled, and where their messages are.
    StepArguments messages(int t, size_t number, int parity) {
        const Tile& tile = bands_.tiles[number];
        const Workspace::PerThread& own = *w_.threads[t];
        const float* const from = w_.values[parity].data();
        float* const to = w_.values[1 - parity].data();
        StepArguments a;
        if (open_.empty()) {
            a.bilateral = w_.bilateral.of(number, tile.pixel);
            a.gaussian = gaussian_->of(number, tile.pixel);
            a.count = int(tile.pixels());
        } else {
            a.bilateral = own.open_bilateral.at(open_[number].bilateral);
            a.gaussian = own.open_gaussian.at(open_[number].gaussian);
            a.count = open_[number].count;
        }
        a.values = own.values.data();
        a.rest = &w_.rest[tile.pixel];
        a.from = from;
        a.from_gaussian = from + gaussian_at_;
        a.to = to;
        a.to_gaussian = to + gaussian_at_;
        a.vectors = kept_.vectors();
        a.subtract_max = r_.w1 + r_.w2 > 16;  // messages are bounded: mostly exp cannot overflow
        return a;
    }
    // The same, and these pixels' log probabilities.
    StepArguments arguments(int t, size_t number, int parity) {
        const StepArguments a = messages(t, number, parity);
        if (open_.empty())
            tile_scores(t, bands_.tiles[number], a.values);
        else
            std::copy_n(w_.threads[t]->open_scores.data() + open_[number].first() * kept_.lanes(), a.count * kept_.lanes(), a.values);
        return a;
    }

    // Slots are numbered in the order they are met, so a tile's new ones lie together: set them just before use.
    template <class Set>
    void for_new_slots(size_t tile, const Set& set) {
        const size_t lanes = kept_.lanes();
        const auto& own = w_.bilateral.first_slot;
        const auto& other = gaussian_->first_slot;
        set(own[tile] * lanes, (own[tile + 1] - own[tile]) * lanes);
        set(gaussian_at_ + other[tile] * lanes, (other[tile + 1] - other[tile]) * lanes);
    }
    void clear_tile(size_t tile, float* to) {
        for_new_slots(tile, [to](size_t begin, size_t size) { std::fill_n(to + begin, size, 0.f); });
    }
    // The sums of an iteration begin with what settled pixels give.
    void begin_tile(size_t tile, float* to) {
        if (open_.empty()) return clear_tile(tile, to);
        const float* const settled = w_.settled.data();
        for_new_slots(tile, [=](size_t begin, size_t size) { std::copy_n(settled + begin, size, to + begin); });
    }

    void iterate(int t) {
        const bool pruned = kept_.count() < r_.classes;
        int parity = 0;
        for_tiles(t, [&](const Tile& tile, size_t number) {  // Q = the given probabilities
            if (!r_.stride && !stores_at_once())
                for (int i = 0; i < tile.rows; ++i) {
                    const size_t pixel = tile.pixel + size_t(i) * tile.columns;
                    score_row(t, tile, i, kept_, &w_.lse[pixel], &w_.unary[pixel * kept_.lanes()]);
                }
            clear_tile(number, w_.values[0].data());
            kernels().first(arguments(t, number, 1));
            if (!pruned) std::fill_n(&w_.rest[tile.pixel], tile.pixels(), 0.f);
        });
        if (r_.iterations == 0)  // no messages
            for_tiles(t, [&](const Tile&, size_t number) { clear_tile(number, w_.values[0].data()); });
        for (int iteration = 0; iteration < r_.iterations; ++iteration) {
            blur(t, w_.values[parity].data());
            if (iteration + 1 == r_.iterations) break;
            const bool settles = may_settle() && iteration + 1 == kSettling;
            for_tiles(t, [&](const Tile& tile, size_t number) {
                begin_tile(number, w_.values[1 - parity].data());
                kernels().step(arguments(t, number, parity));
                if (settles) settle(t, tile, number, parity);
            });
            parity = 1 - parity;
            if (!settles) continue;
            barrier_.wait();
            if (t == 0) open_.swap(next_open_);
            barrier_.wait();
        }
        for_tiles(t, [&](const Tile& tile, size_t number) {
            const StepArguments a = arguments(t, number, parity);
            if (r_.q)
                write_q(t, tile, a);
            else
                write_labels(t, number, a);
        });
    }

    void blur(int t, float* values) {
        const size_t lanes = kept_.lanes();
        float* const gaussian_values = values + gaussian_at_;
        barrier_.wait();
        for (int s = 1; s < bands_.count; ++s) {  // one band's aliases after the other: two may have the same original
            add_aliases(t, w_.bilateral.aliases[s], values, lanes);
            add_aliases(t, gaussian_->aliases[s], gaussian_values, lanes);
            barrier_.wait();
        }
        for (int j = 0; j < 6; ++j) {
            blur_chains(t, w_.bilateral, j, values);
            if (j < 3) blur_chains(t, *gaussian_, j, gaussian_values);
            barrier_.wait();
        }
        for (const Alias& a : w_.bilateral.aliases[t])
            std::copy_n(values + a.original * lanes, lanes, values + a.slot * lanes);
        for (const Alias& a : gaussian_->aliases[t])
            std::copy_n(gaussian_values + a.original * lanes, lanes, gaussian_values + a.slot * lanes);
    }

    void add_aliases(int t, const std::vector<Alias>& aliases, float* values, size_t lanes) {
        const size_t begin = aliases.size() * t / bands_.count, end = aliases.size() * (t + 1) / bands_.count;
        for (size_t i = begin; i < end; ++i) {
            float* const to = values + aliases[i].original * lanes;
            const float* const from = values + aliases[i].slot * lanes;
            for (size_t k = 0; k < lanes; ++k) to[k] += from[k];
        }
    }

    template <int D>
    void blur_chains(int t, const Lattice<D>& lattice, int j, float* values) {
        const size_t begin = lattice.cuts[j][t], end = lattice.cuts[j][t + 1];
        kernels().blur(values, lattice.chains[j].data() + begin, end - begin, kept_.vectors());
    }

    // Pixels that are nearly certain after two iterations do not change any more: they are given their labels, and what
    // they add to the lattice is summed once. The others go on, with points, simplices and scores of their own.
    void settle(int t, const Tile& tile, size_t number, int parity) {
        Workspace::PerThread& own = *w_.threads[t];
        const size_t pixels = tile.pixels(), lanes = kept_.lanes();
        StepArguments a = messages(t, number, parity);
        int32_t* const best = own.best.fit(pixels);
        float* const most = own.most.fit(pixels);
        kernels().best(a.values, best, most, a.count, a.vectors);
        for (size_t i = 0; i < pixels; ++i) put_label(tile, i, best[i]);

        const size_t first = own.open_bilateral.point_count;
        uint16_t* const open = own.open_pixels.grow(first + pixels, first) + first;
        uint32_t* const numbers = own.numbers.fit(pixels);
        uint32_t count = 0;
        for (size_t i = 0; i < pixels; ++i) {
            const bool settled = most[i] >= 1.f - doubt_;
            open[count] = uint16_t(i);
            numbers[i] = settled ? kNone : count;
            count += !settled;
        }
        for (uint32_t n = 0; n < count; ++n) std::fill_n(a.values + open[n] * lanes, lanes, 0.f);
        clear_tile(number, w_.settled.data());
        a.to = w_.settled.data();
        a.to_gaussian = a.to + gaussian_at_;
        kernels().splat(a);

        next_open_[number] = {int(count), own.open_bilateral.add(a.bilateral, numbers, count), own.open_gaussian.add(a.gaussian, numbers, count)};
        tile_scores(t, tile, a.values);
        float* scores = own.open_scores.grow((first + count) * lanes, first * lanes) + first * lanes;
        for (uint32_t n = 0; n < count; ++n) {
            scores = std::copy_n(a.values + open[n] * lanes, lanes, scores);
            a.rest[n] = a.rest[open[n]];
        }
    }

    void write_labels(int t, size_t number, const StepArguments& a) {
        Workspace::PerThread& own = *w_.threads[t];
        int32_t* const best = own.best.fit(a.count);
        kernels().slice(a);
        kernels().best(a.values, best, own.most.fit(a.count), a.count, a.vectors);
        const uint16_t* const open = open_.empty() ? nullptr : own.open_pixels.data() + open_[number].first();
        for (int i = 0; i < a.count; ++i) put_label(bands_.tiles[number], open ? open[i] : i, best[i]);
    }

    void put_label(const Tile& tile, uint32_t pixel, int lane) const {
        const uint32_t columns = uint32_t(tile.columns);
        const size_t place = size_t(tile.top + pixel / columns) * r_.width + tile.left + pixel % columns;
        if (r_.labels8)
            r_.labels8[place] = uint8_t(kept_.numbers[lane]);
        else
            r_.labels64[place] = kept_.numbers[lane];
    }

    void write_q(int t, const Tile& tile, const StepArguments& a) {
        Workspace::PerThread& own = *w_.threads[t];
        float* const scale = own.scale.fit(tile.pixels());
        kernels().last_q(a, scale);
        for (int i = 0; i < tile.rows; ++i) {
            const size_t place = size_t(tile.top + i) * r_.width + tile.left, pixel = size_t(i) * tile.columns;
            write_planes(t, kept_, place, tile.columns, a.values + pixel * kept_.lanes(), false);
            if (kept_.count() == r_.classes) continue;
            // Pruned classes keep their share of the softmax.
            float* const q = own.row.fit(kTile * every_.lanes());
            score_row(t, tile, i, every_, &w_.lse[tile.pixel + pixel], q);
            kernels().probabilities(q, scale + pixel, tile.columns, every_.vectors());
            write_planes(t, every_, place, tile.columns, q, true);
        }
    }

    void write_planes(int t, const Classes& classes, size_t place, int width, const float* values, bool but_kept) {
        std::vector<float*>& planes = w_.threads[t]->out_planes;
        planes.assign(classes.lanes(), nullptr);
        for (int k = 0; k < classes.count(); ++k)
            if (!but_kept || !is_kept_[classes.numbers[k]]) planes[k] = r_.q + classes.numbers[k] * size_t(r_.height) * r_.width + place;
        kernels().scatter(values, planes.data(), width, classes.vectors());
    }

    static constexpr int kSettling = 2;  // iterations before

    // The pixels of a tile that are not settled: how many, and where its thread has them.
    struct Open {
        int count;
        OpenPoints<6>::Place bilateral;
        OpenPoints<3>::Place gaussian;
        size_t first() const { return bilateral.point; }  // of the thread's points, pixels and scores
    };

    const Request& r_;
    Workspace& w_;
    const Bands bands_;
    // Pixels settle where all classes but one have no more than this together. The one's lead is then about as large as
    // all messages together: a smaller one was found to be lost again where those are strong and iterations many.
    const float doubt_;
    Barrier barrier_;
    Classes every_, kept_;
    std::vector<uint8_t> is_kept_;
    std::vector<Open> open_, next_open_;  // of each tile; empty as long as no pixel is settled
    std::shared_ptr<const Lattice<2>> gaussian_;
    size_t gaussian_at_ = 0;
};

void refine(const Request& request) {
    // A thread keeps its memory for the next image, unless this one was out of the ordinary.
    constexpr size_t kOrdinaryPixels = size_t(1) << 20, kOrdinaryClasses = 64;
    thread_local std::unique_ptr<Workspace> kept;
    if (!kept) kept = std::make_unique<Workspace>();
    const std::unique_ptr<Workspace>& workspace = kept;
    try {
        Inference(request, *workspace).run();
    } catch (...) {
        kept.reset();
        throw;
    }
    if (size_t(request.height) * request.width > kOrdinaryPixels || size_t(request.classes) > kOrdinaryClasses) kept.reset();
}

// ---------------------------------------------------------------------------------------------- Python

struct Buffer {
    Py_buffer view{};
    bool held = false;
    ~Buffer() {
        if (held) PyBuffer_Release(&view);
    }
    bool get(PyObject* object, int dimensions, const char* formats, bool writable, const char* name) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object, &view, flags)) return false;
        held = true;
        if (view.ndim != dimensions || !view.format || std::strlen(view.format) != 1 || !std::strchr(formats, view.format[0])) {
            PyErr_Format(PyExc_ValueError, "%s: expected %d dimensions of type %s", name, dimensions, formats);
            return false;
        }
        return true;
    }
};

PyObject* py_refine(PyObject*, PyObject* args) {
    PyObject *image, *scores, *out;
    Request r{};
    double prune, w1, sy, sx, srgb, w2, sg;
    if (!PyArg_ParseTuple(args, "OOOi(dddddd)idi", &image, &scores, &out, &r.stride, &w1, &sy, &sx, &srgb, &w2, &sg,
                          &r.iterations, &prune, &r.threads))
        return nullptr;
    Buffer image_buffer, scores_buffer, out_buffer;
    if (!image_buffer.get(image, 3, "Bf", false, "image") || !scores_buffer.get(scores, 3, "f", false, "scores")) return nullptr;
    const bool wants_q = r.stride == 0;
    if (!out_buffer.get(out, wants_q ? 3 : 2, wants_q ? "f" : "Blq", true, "out")) return nullptr;
    const Py_ssize_t* const size = image_buffer.view.shape;
    const Py_ssize_t* const cells = scores_buffer.view.shape;
    const Py_ssize_t* const result = out_buffer.view.shape;
    bool good = size[0] == 3 && size[1] > 0 && size[2] > 0 && cells[0] > 0 && cells[1] > 0 && cells[2] > 0;
    good = good && size[1] < (1 << 24) && size[2] < (1 << 24) && cells[0] <= (1 << 16) && r.threads > 0 && r.stride >= 0;
    if (wants_q) {
        good = good && cells[1] == size[1] && cells[2] == size[2];
        good = good && result[0] == cells[0] && result[1] == size[1] && result[2] == size[2];
    } else {
        good = good && (cells[1] - 1) * r.stride + 1 >= size[1] && (cells[2] - 1) * r.stride + 1 >= size[2];
        good = good && result[0] == size[1] && result[1] == size[2];
        good = good && (out_buffer.view.itemsize == 8 || (out_buffer.view.itemsize == 1 && cells[0] <= 256));
    }
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "image, scores and out do not fit together");
        return nullptr;
    }
    r.image = image_buffer.view.buf;
    r.image_is_float = image_buffer.view.format[0] == 'f';
    r.height = int(size[1]);
    r.width = int(size[2]);
    r.scores = static_cast<const float*>(scores_buffer.view.buf);
    r.classes = int(cells[0]);
    r.rows = int(cells[1]);
    r.columns = int(cells[2]);
    r.w1 = float(w1), r.sy = float(sy), r.sx = float(sx), r.srgb = float(srgb), r.w2 = float(w2), r.sg = float(sg);
    r.prune = float(prune);
    r.threads = std::min(r.threads, r.height);
    if (wants_q)
        r.q = static_cast<float*>(out_buffer.view.buf);
    else if (out_buffer.view.itemsize == 1)
        r.labels8 = static_cast<uint8_t*>(out_buffer.view.buf);
    else
        r.labels64 = static_cast<int64_t*>(out_buffer.view.buf);

    std::string problem;
    bool out_of_memory = false;
    Py_BEGIN_ALLOW_THREADS;
    try {
        refine(r);
    } catch (const std::bad_alloc&) {
        out_of_memory = true;
    } catch (const std::exception& error) {
        problem = error.what();
    }
    Py_END_ALLOW_THREADS;
    if (out_of_memory) return PyErr_NoMemory();
    if (!problem.empty()) {
        PyErr_SetString(PyExc_ValueError, problem.c_str());
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* py_level(PyObject*, PyObject*) { return PyUnicode_FromString(kernels().name); }

PyMethodDef methods[] = {
    {"refine", py_refine, METH_VARARGS,
     "refine(image, scores, out, stride, (w1, sy, sx, srgb, w2, sg), iterations, prune, threads)\n"
     "stride 0: scores and out are float32 classes x height x width, out becomes Q;\n"
     "otherwise out is uint8 or int64 height x width and becomes the labels. Releases the interpreter lock."},
    {"level", py_level, METH_NOARGS, "The instruction set in use."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "Dense CRF inference on the CPU.", -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&module); }

#else  // CRF_LEVEL: what is compiled for each instruction set. Plain functions only, so that none is shared with another.

namespace {
namespace CRF_LEVEL {

typedef float F4 __attribute__((vector_size(16)));
typedef float F8 __attribute__((vector_size(32)));
typedef int32_t I8 __attribute__((vector_size(32)));
typedef float F8Unaligned __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t I8Unaligned __attribute__((vector_size(32), aligned(4), may_alias));
#if CRF_WIDTH == 16
typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
#endif
#define CRF_INLINE static inline __attribute__((always_inline))

CRF_INLINE F8 load(const float* p) { return *reinterpret_cast<const F8Unaligned*>(p); }
CRF_INLINE void store(float* p, F8 x) { *reinterpret_cast<F8Unaligned*>(p) = x; }
CRF_INLINE F8 all(float x) { return F8{x, x, x, x, x, x, x, x}; }
// The same for vectors of 8 or 16 floats: an even number of eights goes as sixteens where the processor has them.
template <class V>
CRF_INLINE V load_as(const float* p) {
    typedef V Unaligned __attribute__((aligned(4), may_alias));
    return *reinterpret_cast<const Unaligned*>(p);
}
template <class V>
CRF_INLINE void store_as(float* p, V x) {
    typedef V Unaligned __attribute__((aligned(4), may_alias));
    *reinterpret_cast<Unaligned*>(p) = x;
}
template <class V>
CRF_INLINE V all_as(float x) {
    return x - V{};  // not V{} + x: that is no mere copy where x is -0, and costs an addition each time
}
#if CRF_WIDTH == 16
CRF_INLINE F16 larger(F16 a, F16 b) { return (F16)_mm512_max_ps((__m512)a, (__m512)b); }
#endif
#if CRF_WIDTH >= 8
CRF_INLINE F8 larger(F8 a, F8 b) { return (F8)_mm256_max_ps((__m256)a, (__m256)b); }
#else
CRF_INLINE F8 larger(F8 a, F8 b) { return a > b ? a : b; }
#endif
CRF_INLINE F8 folded(F8 x) { return x; }
#if CRF_WIDTH == 16
CRF_INLINE F8 folded(F16 x) { return (F8)_mm512_castps512_ps256((__m512)x) + (F8)_mm512_extractf32x8_ps((__m512)x, 1); }
#endif
CRF_INLINE float sum(F8 x) {
    const F4 y = F4{x[0], x[1], x[2], x[3]} + F4{x[4], x[5], x[6], x[7]};
    return (y[0] + y[2]) + (y[1] + y[3]);
}
CRF_INLINE float largest_of(F8 x) {
    const F4 a = {x[0], x[1], x[2], x[3]}, b = {x[4], x[5], x[6], x[7]}, y = a > b ? a : b;
    const float c = y[0] > y[2] ? y[0] : y[2], d = y[1] > y[3] ? y[1] : y[3];
    return c > d ? c : d;
}

// e^x as 2^n 2^f, to about 3e-7 for |x| up to 16; nothing below -87.
template <class V, class I>
CRF_INLINE V exponential_of(V x) {
    const V zero = {};
    x = larger(x, zero - 87.f);
    const V shifted = x * (zero + 1.44269504f) + (zero + 12582912.f);  // rounds to a whole number in the low bits
    const V f = x * (zero + 1.44269504f) - (shifted - (zero + 12582912.f));
    V p = zero + 1.327646780e-3f;  // least largest relative error on -1/2..1/2
    p = p * f + (zero + 9.675540961e-3f);
    p = p * f + (zero + 5.550713465e-2f);
    p = p * f + (zero + 2.402212024e-1f);
    p = p * f + (zero + 6.931469440e-1f);
    p = p * f + (zero + 1.f);
    return (V)((I)p + ((I)shifted << 23));
}
CRF_INLINE F8 exponential(F8 x) { return exponential_of<F8, I8>(x); }
#if CRF_WIDTH == 16
CRF_INLINE F16 exponential(F16 x) { return exponential_of<F16, I16>(x); }
#endif
// log x of positive numbers, as precise as that: the exponent's bits tell it to 0.06, and two of Halley's steps the rest.
CRF_INLINE F8 logarithm(F8 x) {
    F8 y = __builtin_convertvector((I8)x - 0x3f800000, F8) * all(0.69314718f / 8388608.f);
    for (int i = 0; i < 2; ++i) {
        const F8 e = exponential(y);
        y += all(2.f) * (x - e) / (x + e);
    }
    return y;
}

// The vector for NV times 8 classes (0: any number): as wide as divides them.
template <int NV>
struct Widest {
#if CRF_WIDTH == 16
    using Vector = typename std::conditional<(NV > 0 && NV % 2 == 0), F16, F8>::type;
#else
    using Vector = F8;
#endif
};

#define CRF_DISPATCH(vectors, call) \
    switch (vectors) {              \
        case 1: call(1); break;     \
        case 2: call(2); break;     \
        case 3: call(3); break;     \
        case 4: call(4); break;     \
        default: call(0);           \
    }

// Section 3.1 of Adams et al. for 8 pixels at a time.
template <int D>
CRF_INLINE void embed(const float* const* features, const float* scale, EmbeddedRow row) {
    constexpr float kDown = 1.f / (D + 1), kUp = D + 1;
    for (int x = 0; x < row.count; x += 8) {
        F8 elevated[D + 1], base[D + 1];
        F8 tail = all(0.f), total = all(0.f);
        for (int i = D; i > 0; --i) {
            const F8 scaled = load(features[i - 1] + x) * all(scale[i - 1]);
            elevated[i] = tail - all(float(i)) * scaled;
            tail += scaled;
        }
        elevated[0] = tail;
        F8 apart[D + 1];
        for (int i = 0; i <= D; ++i) {
            base[i] = (elevated[i] * all(kDown) + all(12582912.f)) - all(12582912.f);
            total += base[i];
            apart[i] = elevated[i] - base[i] * all(kUp);
        }
        I8 rank[D + 1];
        for (int i = 0; i <= D; ++i) rank[i] = __builtin_convertvector(total, I8);
        for (int i = 0; i <= D; ++i)
            for (int j = i + 1; j <= D; ++j) {
                const I8 less = apart[i] < apart[j];  // -1 where true
                rank[i] -= less;
                rank[j] += 1 + less;
            }
        F8 by_rank[D + 1];
        for (int k = 0; k <= D; ++k) by_rank[k] = all(0.f);
        I8 order = I8{};
        for (int i = 0; i <= D; ++i) {
            const I8 under = rank[i] < 0, over = rank[i] > D;  // -1 where true
            const I8 wrapped = over - under;                   // +1 under, -1 over
            rank[i] += wrapped * (D + 1);
            base[i] += __builtin_convertvector(wrapped, F8);
            const F8 v = (elevated[i] - base[i] * all(kUp)) * all(kDown);
            for (int k = 0; k <= D; ++k) by_rank[k] = (rank[i] == k) ? v : by_rank[k];
            order |= i << (rank[i] * 4);
            if (i < D) *reinterpret_cast<I8Unaligned*>(row.base + size_t(i) * row.padded + x) = __builtin_convertvector(base[i], I8);
        }
        store(row.weight + x, all(1.f) + by_rank[D] - by_rank[0]);
        for (int k = 1; k <= D; ++k) store(row.weight + size_t(k) * row.padded + x, by_rank[D - k] - by_rank[D - k + 1]);
        *reinterpret_cast<I8Unaligned*>(row.order + x) = order;
    }
}
static void embed5(const float* const* features, const float* scale, EmbeddedRow row) { embed<5>(features, scale, row); }
static void embed2(const float* const* features, const float* scale, EmbeddedRow row) { embed<2>(features, scale, row); }

template <class V>
CRF_INLINE void interpolate_as(const RowArguments& a) {
    constexpr int kWidth = sizeof(V) / sizeof(float);
    const int lanes = a.vectors * 8;
    const V fraction = all_as<V>(a.fraction), step = all_as<V>(1.f / float(a.stride));
    for (int i = 0; i < a.cells * lanes; i += kWidth) {
        const V upper = load_as<V>(a.upper + i);
        store_as<V>(a.blended + i, upper + fraction * (load_as<V>(a.lower + i) - upper));
    }
    const float* left = a.blended;
    for (int x = 0, phase = a.phase; x < a.width; phase = 0, left += lanes) {
        const int end = x + a.stride - phase < a.width ? x + a.stride - phase : a.width;
        const float* const right = left + lanes < a.blended + a.cells * lanes ? left + lanes : left;
        for (int k = 0; k < lanes; k += kWidth) {
            const V l = load_as<V>(left + k), change = load_as<V>(right + k) - l;
            V f = all_as<V>(float(phase)) * step;
            for (int i = x; i < end; ++i, f += step) store_as<V>(a.out + size_t(i) * lanes + k, (l - all_as<V>(a.less[i])) + f * change);
        }
        x = end;
    }
}
static void interpolate(const RowArguments& a) {
#if CRF_WIDTH == 16
    if (a.vectors % 2 == 0) return interpolate_as<F16>(a);
#endif
    interpolate_as<F8>(a);
}

#if defined(__clang__)
#define CRF_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CRF_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, I8{__VA_ARGS__})
#endif
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

// Planes, one a class -> pixels, classes innermost.
static void gather(const float* const* planes, const float* less, float* out, int width, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    int x = 0;
    for (; x + 8 <= width; x += 8)
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load(planes[k + j] + x) - load(less + x);
            transpose(r);
            for (int j = 0; j < 8; ++j) store(out + (x + j) * lanes + k, r[j]);
        }
    for (; x < width; ++x)
        for (size_t k = 0; k < lanes; ++k) out[x * lanes + k] = planes[k][x] - less[x];
}

// And back; where a plane is null, nowhere.
static void scatter(const float* values, float* const* planes, int width, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    int x = 0;
    for (; x + 8 <= width; x += 8)
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load(values + (x + j) * lanes + k);
            transpose(r);
            for (int j = 0; j < 8; ++j)
                if (planes[k + j]) store(planes[k + j] + x, r[j]);
        }
    for (; x < width; ++x)
        for (size_t k = 0; k < lanes; ++k)
            if (planes[k]) planes[k][x] = values[x * lanes + k];
}

// Scores of a row -> log sum exp of every pixel, the largest log probability of every class so far, and, to keep, log
// probabilities in the scores' place.
template <int NV>
CRF_INLINE void normalise_of(float* row, float* lse, float* largest, int width, int vectors, bool keep) {
    using V = typename Widest<NV>::Vector;
    constexpr size_t kWidth = sizeof(V) / sizeof(float);
    const size_t lanes = size_t(NV ? NV : vectors) * 8;
    static_assert(kTile % 8 == 0, "a row is whole vectors");
    float tops[kTile], sums[kTile];
    for (int x = 0; x < width; ++x) {
        const float* const s = row + x * lanes;
        F8 m = load(s);
        for (size_t k = 8; k < lanes; k += 8) m = larger(m, load(s + k));
        tops[x] = largest_of(m);
    }
    for (int x = 0; x < width; ++x) {
        const float* const s = row + x * lanes;
        V e = {};
        for (size_t k = 0; k < lanes; k += kWidth) e += exponential(load_as<V>(s + k) - all_as<V>(tops[x]));
        sums[x] = sum(folded(e));
    }
    for (int x = width; x % 8; ++x) tops[x] = sums[x] = 1.f;
    for (int x = 0; x < width; x += 8) store(tops + x, load(tops + x) + logarithm(load(sums + x)));
    for (int x = 0; x < width; ++x) lse[x] = tops[x];
    for (size_t k = 0; k < lanes; k += kWidth) {
        V m = load_as<V>(largest + k);
        for (int x = 0; x < width; ++x) {
            const V log_p = load_as<V>(row + x * lanes + k) - all_as<V>(lse[x]);
            if (keep) store_as<V>(row + x * lanes + k, log_p);
            m = larger(m, log_p);
        }
        store_as<V>(largest + k, m);
    }
}
static void normalise(float* row, float* lse, float* largest, int width, int vectors, bool keep) {
#define CRF_CALL(NV) normalise_of<NV>(row, lse, largest, width, vectors, keep)
    CRF_DISPATCH(vectors, CRF_CALL)
#undef CRF_CALL
}

static void probabilities(float* row, const float* scale, int width, int vectors) {
    for (int x = 0; x < width; ++x)
        for (int k = 0; k < vectors * 8; k += 8) {
            float* const s = row + size_t(x) * vectors * 8 + k;
            store(s, exponential(load(s)) * all(scale[x]));
        }
}

#if CRF_WIDTH == 16
// Twenty-four classes, VOC's twenty-one: two vectors that share their weights.
struct F24 {
    F16 low;
    F8 high;
};
CRF_INLINE F24 operator*(F24 a, F24 b) { return {a.low * b.low, a.high * b.high}; }
CRF_INLINE F24 operator+(F24 a, F24 b) { return {a.low + b.low, a.high + b.high}; }
CRF_INLINE F24& operator+=(F24& a, F24 b) { return a = a + b; }
template <>
inline __attribute__((always_inline)) F24 load_as<F24>(const float* p) {
    return {load_as<F16>(p), load_as<F8>(p + 16)};
}
template <>
inline __attribute__((always_inline)) void store_as<F24>(float* p, F24 x) {
    store_as<F16>(p, x.low);
    store_as<F8>(p + 16, x.high);
}
template <>
inline __attribute__((always_inline)) F24 all_as<F24>(float x) {
    const F16 low = (F16)_mm512_set1_ps(x);
    return {low, (F8)_mm512_castps512_ps256((__m512)low)};
}
#endif

// Each stage runs over the tile before the next begins: one pixel's gather, exponential, sum and scatter are a long
// chain of waits, many pixels' gathers are none. V: the part of the classes that goes as one vector.
template <int Count, class V>
CRF_INLINE void slice_part(const Points<Count>& all_points, const float* from, float* values, size_t lanes) {
    const Point<Count>* point = all_points.points;
    for (const Simplex<Count>* simplex = all_points.begin; simplex < all_points.end; ++simplex) {
        V corner[Count];
        for (int c = 0; c < Count; ++c) corner[c] = load_as<V>(from + simplex->at[c] * lanes);
        for (const Point<Count>* const end = point + simplex->pixels; point < end; ++point) {
            float* const out = values + point->place * lanes;
            V a = load_as<V>(out), b = all_as<V>(point->weight[0]) * corner[0];
            for (int c = 1; c < Count; c += 2) {
                a += all_as<V>(point->weight[c]) * corner[c];
                if (c + 1 < Count) b += all_as<V>(point->weight[c + 1]) * corner[c + 1];
            }
            store_as<V>(out, a + b);
        }
    }
}

template <int Count, class V>
CRF_INLINE void splat_part(const Points<Count>& all_points, const float* values, float* to, size_t lanes) {
    const Point<Count>* point = all_points.points;
    for (const Simplex<Count>* simplex = all_points.begin; simplex < all_points.end; ++simplex) {
        V sum[Count];
        for (int c = 0; c < Count; ++c) sum[c] = V{};
        for (const Point<Count>* const end = point + simplex->pixels; point < end; ++point) {
            const V q = load_as<V>(values + point->place * lanes);
            for (int c = 0; c < Count; ++c) sum[c] += all_as<V>(point->weight[c]) * q;
        }
        V before[Count];  // the corners of a simplex are distinct vertices: all reads before all writes
        for (int c = 0; c < Count; ++c) before[c] = load_as<V>(to + simplex->at[c] * lanes);
        for (int c = 0; c < Count; ++c) store_as<V>(to + simplex->at[c] * lanes, before[c] + sum[c]);
    }
}

// Of the lanes from k on, one vector.
template <class V>
CRF_INLINE void slice_at(const StepArguments& a, size_t k, size_t lanes) {
    slice_part<6, V>(a.bilateral, a.from + k, a.values + k, lanes);
    slice_part<3, V>(a.gaussian, a.from_gaussian + k, a.values + k, lanes);
}
template <class V>
CRF_INLINE void splat_at(const StepArguments& a, size_t k, size_t lanes) {
    splat_part<6, V>(a.bilateral, a.values + k, a.to + k, lanes);
    splat_part<3, V>(a.gaussian, a.values + k, a.to_gaussian + k, lanes);
}
static void slice(const StepArguments& a) {
    const size_t lanes = size_t(a.vectors) * 8;
    size_t k = 0;
#if CRF_WIDTH == 16
    for (; lanes - k >= 32 || lanes - k == 16; k += 16) slice_at<F16>(a, k, lanes);
    for (; k + 24 <= lanes; k += 24) slice_at<F24>(a, k, lanes);
#endif
    for (; k < lanes; k += 8) slice_at<F8>(a, k, lanes);
}
static void splat(const StepArguments& a) {
    const size_t lanes = size_t(a.vectors) * 8;
    size_t k = 0;
#if CRF_WIDTH == 16
    for (; lanes - k >= 32 || lanes - k == 16; k += 16) splat_at<F16>(a, k, lanes);
    for (; k + 24 <= lanes; k += 24) splat_at<F24>(a, k, lanes);
#endif
    for (; k < lanes; k += 8) splat_at<F8>(a, k, lanes);
}

// x -> e^x, all of a block.
CRF_INLINE void exponentials(float* x, size_t count) {
    size_t k = 0;
#if CRF_WIDTH == 16
    for (; k + 16 <= count; k += 16) {
        store_as<F16>(x + k, exponential(load_as<F16>(x + k)));
    }
#endif
    for (; k < count; k += 8) store(x + k, exponential(load(x + k)));
}

// The sums of eight pixels, of which `count` are there.
template <int NV>
CRF_INLINE F8 sums(const float* x, size_t lanes, int count) {
    F8 r[8];
    for (int i = 0; i < 8; ++i) {
        const float* const own = x + (i < count ? i : 0) * lanes;
        r[i] = load(own);
        for (size_t k = 8; k < lanes; k += 8) r[i] += load(own + k);
    }
    for (int i = 0; i < 8; i += 2)
        r[i / 2] = CRF_SHUFFLE(r[i], r[i + 1], 0, 2, 8, 10, 4, 6, 12, 14) + CRF_SHUFFLE(r[i], r[i + 1], 1, 3, 9, 11, 5, 7, 13, 15);
    for (int i = 0; i < 4; i += 2)
        r[i / 2] = CRF_SHUFFLE(r[i], r[i + 1], 0, 2, 8, 10, 4, 6, 12, 14) + CRF_SHUFFLE(r[i], r[i + 1], 1, 3, 9, 11, 5, 7, 13, 15);
    return CRF_SHUFFLE(r[0], r[1], 0, 1, 2, 3, 8, 9, 10, 11) + CRF_SHUFFLE(r[0], r[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

// The softmax of every pixel, with the pruned classes' share in the sum; `scales`, if given, is what e^(log
// probability) of those is multiplied by.
template <int NV>
CRF_INLINE void soften(const StepArguments& a, float* scales) {
    const int vectors = NV ? NV : a.vectors;
    const size_t lanes = size_t(vectors) * 8;
    constexpr int kBlock = 32;
    for (int begin = 0; begin < a.count; begin += kBlock) {
        const int count = begin + kBlock < a.count ? kBlock : a.count - begin;
        float* const x = a.values + begin * lanes;
        const float* const rest = a.rest + begin;
        float factors[kBlock], tops[kBlock];
        if (a.subtract_max)
            for (int i = 0; i < count; ++i) {
                float* const own = x + i * lanes;
                F8 m = load(own);
                for (int v = 1; v < vectors; ++v) m = larger(m, load(own + v * 8));
                tops[i] = largest_of(m);
                for (int v = 0; v < vectors; ++v) store(own + v * 8, load(own + v * 8) - all(tops[i]));
            }
        exponentials(x, count * lanes);
        for (int i = 0; i < count; i += 8) store(factors + i, sums<NV>(x + i * lanes, lanes, count - i));
        if (a.subtract_max)
            for (int i = 0; i < count; ++i) {
                const float down = exponential(all(-tops[i]))[0];
                factors[i] = 1.f / (factors[i] + rest[i] * down);
                tops[i] = factors[i] * down;
            }
        else
            for (int i = 0; i < count; ++i) tops[i] = factors[i] = 1.f / (factors[i] + rest[i]);
        for (int i = 0; i < count; ++i)
            for (int v = 0; v < vectors; ++v) store(x + i * lanes + v * 8, load(x + i * lanes + v * 8) * all(factors[i]));
        if (scales)
            for (int i = 0; i < count; ++i) scales[begin + i] = tops[i];
    }
}

// Log probabilities -> probabilities, and what they lack of 1.
template <int NV>
CRF_INLINE void first_of(const StepArguments& a) {
    const size_t lanes = size_t(NV ? NV : a.vectors) * 8;
    for (int begin = 0; begin < a.count; begin += 8) {
        const int count = begin + 8 < a.count ? 8 : a.count - begin;
        float* const x = a.values + begin * lanes;
        exponentials(x, count * lanes);
        const F8 left = larger(all(1.f) - sums<NV>(x, lanes, count), all(0.f));
        for (int i = 0; i < count; ++i) a.rest[begin + i] = left[i];
    }
}
static void first(const StepArguments& a) {
#define CRF_CALL(NV) first_of<NV>(a)
    CRF_DISPATCH(a.vectors, CRF_CALL)
#undef CRF_CALL
    splat(a);
}

// Of each pixel the lane that is largest, the first of equals, and its value.
static void best(const float* values, int32_t* lane, float* value, int count, int vectors) {
    const size_t lanes = size_t(vectors) * 8;
    for (int i = 0; i < count; i += 8) {
        F8 most = all(0.f);
        I8 which = I8{};
        for (size_t k = 0; k < lanes; k += 8) {
            F8 r[8];
            for (int j = 0; j < 8; ++j) r[j] = load(values + (i + j < count ? i + j : i) * lanes + k);
            transpose(r);
            for (int j = 0; j < 8; ++j) {
                const I8 more = (r[j] > most) | ((k + j) ? I8{} : ~I8{});
                most = more ? r[j] : most;
                which = more ? I8{} + int32_t(k + j) : which;
            }
        }
        for (int j = 0; j < 8 && i + j < count; ++j) {
            lane[i + j] = which[j];
            value[i + j] = most[j];
        }
    }
}

// The blur (1/2, 1, 1/2) along chains, in place: one read and one write of each vertex.
template <int NV>
CRF_INLINE void blur_of(float* values, const uint32_t* chain, size_t length, int vectors) {
    using V = typename Widest<NV>::Vector;
    constexpr int kWidth = sizeof(V) / sizeof(float), kGroup = NV ? NV * 8 / kWidth : 1;
    const size_t lanes = size_t(NV ? NV : vectors) * 8;
    const float link[2] = {0.5f, 0.f};
    if (!length) return;
    for (size_t k = 0; k < lanes; k += kGroup * kWidth) {
        float* const from = values + k;
        float* at = from + (chain[0] & ~0x80000000u) * lanes;
        V before[kGroup], here[kGroup];
        for (int v = 0; v < kGroup; ++v) {
            before[v] = all_as<V>(0.f);
            here[v] = load_as<V>(at + v * kWidth);
        }
        for (size_t i = 0; i + 1 < length; ++i) {
            if (i + 12 < length) {
                const float* const ahead = from + (chain[i + 12] & ~0x80000000u) * lanes;
                for (int v = 0; v < kGroup; v += 16 / kWidth) __builtin_prefetch(ahead + v * kWidth, 1);
            }
            const V half = all_as<V>(link[chain[i] >> 31]);
            float* const next = from + (chain[i + 1] & ~0x80000000u) * lanes;
            for (int v = 0; v < kGroup; ++v) {
                const V after = load_as<V>(next + v * kWidth);
                store_as<V>(at + v * kWidth, here[v] + before[v] + half * after);
                before[v] = half * here[v];
                here[v] = after;
            }
            at = next;
        }
        for (int v = 0; v < kGroup; ++v) store_as<V>(at + v * kWidth, here[v] + before[v]);
    }
}

static void step(const StepArguments& a) {
    slice(a);
#define CRF_CALL(NV) soften<NV>(a, nullptr)
    CRF_DISPATCH(a.vectors, CRF_CALL)
#undef CRF_CALL
    splat(a);
}
static void last_q(const StepArguments& a, float* scales) {
    slice(a);
#define CRF_CALL(NV) soften<NV>(a, scales)
    CRF_DISPATCH(a.vectors, CRF_CALL)
#undef CRF_CALL
}
static void blur(float* values, const uint32_t* chain, size_t length, int vectors) {
#define CRF_CALL(NV) blur_of<NV>(values, chain, length, vectors)
    CRF_DISPATCH(vectors, CRF_CALL)
#undef CRF_CALL
}

#define CRF_TEXT_(x) #x
#define CRF_TEXT(x) CRF_TEXT_(x)
static const Kernels table = {CRF_TEXT(CRF_LEVEL), embed5, embed2, interpolate, gather, scatter, normalise, first, slice, splat, step, last_q, best, probabilities, blur};

#undef CRF_INLINE
#undef CRF_SHUFFLE
#undef CRF_DISPATCH
#undef CRF_TEXT
#undef CRF_TEXT_

}  // namespace CRF_LEVEL
}  // namespace

#endif
