// The vertices of a lattice: a hash table from keys to numbers, and a Bloom filter in front of it.

#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "layout.hpp"
#include "memory.hpp"
#include "vertex_keys.hpp"

namespace crf {

constexpr uint32_t kNone = 0xFFFFFFFFu;  // no vertex, no pixel

// Numbers keys in the order they are first met. Open addressing with linear probing.
template <class Key>
class VertexTable {
  public:
    void clear() {
        bits_ = 15;
        clear_entries();
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
    // The number of a key, or kNone.
    uint32_t find(Key key) const {
        const uint64_t hash = hash_of(key);
        for (size_t i = hash >> (64 - bits_); entries_[i].id != kNone; i = (i + 1) & mask())
            if (entries_[i].tag == uint32_t(hash) && keys_[entries_[i].id] == key) return entries_[i].id;
        return kNone;
    }
    // The two loads of a `find`, ahead of it.
    void prefetch_entry(Key key) const { __builtin_prefetch(&entries_[hash_of(key) >> (64 - bits_)]); }
    void prefetch_key(Key key) const {
        const Entry& entry = entries_[hash_of(key) >> (64 - bits_)];
        if (entry.id != kNone) __builtin_prefetch(&keys_[entry.id]);
    }

  private:
    struct Entry {
        uint32_t tag, id;
    };
    size_t mask() const { return (size_t(1) << bits_) - 1; }
    void clear_entries() {
        std::memset(static_cast<void*>(entries_.fit(size_t(1) << bits_)), 0xFF, sizeof(Entry) << bits_);
    }
    void enlarge() {
        ++bits_;
        clear_entries();
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

// Rejects most keys that a table does not hold, in so few bytes that they stay in a core's own cache.
template <class Key>
class BloomFilter {
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

}  // namespace crf
