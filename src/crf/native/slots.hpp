// The vertices of all bands, numbered through: slots, and which of them are aliases of an earlier band's.

#pragma once

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "band_vertices.hpp"
#include "lattice.hpp"

namespace crf {

template <int D, class Key>
struct Slots {
    void begin(const FeatureBounds<D>& bounds, int bands) {
        packing = KeyPacking<D, Key>(bounds);
        while (int(band_vertices.size()) < bands) band_vertices.emplace_back(new BandVertices<D, Key>);
        first_slot.assign(bands + 1, 0);
    }

    // Numbers the slots and finds the aliases, when all bands know their vertices.
    void merge(Lattice<D>& lattice) {
        size_t total = 0;
        for (int band = 0; band < bands(); ++band) {
            first_slot[band] = uint32_t(total);
            total += band_vertices[band]->table().count();
        }
        first_slot[bands()] = uint32_t(total);
        if (total >= kChainEnd) throw std::length_error("too many lattice vertices");
        lattice.slots = total;
        originals.fit(total);
        keys.fit(total);
        filter.clear(total);
        for (int band = 0; band < bands(); ++band) {
            const VertexTable<Key>& table = band_vertices[band]->table();
            std::copy_n(table.keys(), table.count(), keys.data() + first_slot[band]);
            for (uint32_t i = 0; i < table.count(); ++i) {
                const Key key = table.keys()[i];
                const uint32_t slot = first_slot[band] + i;
                const uint32_t earlier = filter.may_hold(key) ? find(key, 0, band) : kNone;
                originals[slot] = earlier == kNone ? slot : earlier;
                if (earlier == kNone)
                    filter.add(key);
                else
                    lattice.aliases[band].push_back({slot, earlier});
            }
        }
    }

    int bands() const { return int(first_slot.size()) - 1; }
    uint32_t count() const { return first_slot.back(); }

    // The original slot of a key in one of the bands from `begin` to `end`, or kNone.
    uint32_t find(Key key, int begin, int end) const {
        for (int band = begin; band < end; ++band) {
            const uint32_t known = band_vertices[band]->table().find(key);
            if (known != kNone) return originals[first_slot[band] + known];
        }
        return kNone;
    }
    // In any band, that of a neighbour first: most neighbours are in the same.
    uint32_t find_near(Key key, int band) const {
        const uint32_t slot = find(key, band, bands());
        return slot == kNone ? find(key, 0, band) : slot;
    }

    KeyPacking<D, Key> packing;
    std::vector<std::unique_ptr<BandVertices<D, Key>>> band_vertices;
    std::vector<uint32_t> first_slot;  // of each band, and the end
    Array<Key> keys;                   // of each slot
    Array<uint32_t> originals;         // of each slot
    BloomFilter<Key> filter;           // of all keys
};

}  // namespace crf
