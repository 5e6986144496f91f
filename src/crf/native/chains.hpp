// Links the vertices of a lattice to chains of neighbours along each direction, so that the blur reads and writes each
// vertex once and never looks one up.

#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "lattice.hpp"
#include "slots.hpp"

namespace crf {

template <int D, class Key>
class ChainLinker {
  public:
    // The chains of the directions `thread`, `thread` + number of bands, ...
    void link(int thread, const Slots<D, Key>& slots, Lattice<D>& lattice) {
        find_shown_neighbours(thread, slots);
        for (int j = thread; j <= D; j += slots.bands()) {
            look_neighbours_up(directions_[j], slots, slots.packing.step[j]);
            write_chains(directions_[j], slots, lattice.chains[j].fit(slots.count()), lattice.cuts[j]);
        }
    }

  private:
    struct Direction {
        Array<uint32_t> next;      // of each slot, the neighbour along the direction
        Array<uint8_t> preceded;   // whether a slot is the neighbour of another
        Array<uint32_t> doubtful;  // slots whose neighbour, if there is one, no simplex has shown
        size_t doubts = 0;
    };

    void find_shown_neighbours(int thread, const Slots<D, Key>& slots) {
        constexpr uint32_t kBlock = 512;  // slots whose neighbours stay in a core's own cache for all directions
        for (int j = thread; j <= D; j += slots.bands()) {
            Direction& direction = directions_[j];
            direction.next.fit(slots.count());
            direction.doubtful.fit(slots.count() + 1);
            std::memset(direction.preceded.fit(slots.count() + 1), 0, slots.count());
            direction.doubts = 0;
        }
        for (int band = 0; band < slots.bands(); ++band) {
            const uint32_t last = slots.first_slot[band + 1];
            for (uint32_t begin = slots.first_slot[band]; begin < last; begin += kBlock)
                for (int j = thread; j <= D; j += slots.bands())
                    find_shown_neighbours(j, slots, band, begin, std::min(begin + kBlock, last));
        }
    }

    // Without branches: half of the answers are no, and in no pattern.
    void find_shown_neighbours(int j, const Slots<D, Key>& slots, int band, uint32_t begin, uint32_t end) {
        Direction& direction = directions_[j];
        const uint32_t first_slot = slots.first_slot[band], none = slots.count();
        const uint32_t* shown = slots.band_vertices[band]->neighbours() + size_t(begin - first_slot) * (D + 1) + j;
        const uint32_t* const originals = slots.originals.data();
        const Key* const keys = slots.keys.data();
        const Key step = slots.packing.step[j];
        uint32_t* const next = direction.next.data();
        uint32_t* const doubtful = direction.doubtful.data();
        uint8_t* const preceded = direction.preceded.data();
        size_t doubts = direction.doubts, unknown = doubts;
        for (uint32_t i = begin; i < end; ++i, shown += D + 1) {
            uint32_t neighbour = *shown;
            if (band > 0) {  // the first band's are all originals
                const bool is_shown = (originals[i] == i) & (neighbour != kNone);
                neighbour = is_shown ? originals[first_slot + (is_shown ? neighbour : 0)] : kNone;
            }
            next[i] = neighbour;
            doubtful[unknown] = i;
            unknown += neighbour == kNone;
        }
        for (uint32_t i = begin; i < end; ++i) preceded[std::min(next[i], none)] = 1;
        for (size_t k = doubts; k < unknown; ++k) {
            const uint32_t i = doubtful[k];
            doubtful[doubts] = i;
            doubts += (originals[i] == i) & slots.filter.may_hold(keys[i] + step);
        }
        direction.doubts = doubts;
    }

    static void look_neighbours_up(Direction& direction, const Slots<D, Key>& slots, Key step) {
        const Key* const keys = slots.keys.data();
        const uint32_t* const doubtful = direction.doubtful.data();
        uint32_t* const next = direction.next.data();
        uint8_t* const preceded = direction.preceded.data();
        int band = 0;
        for (size_t i = 0; i < direction.doubts; ++i) {  // in the order of their slots, so band by band
            while (doubtful[i] >= slots.first_slot[band + 1]) ++band;
            const VertexTable<Key>& table = slots.band_vertices[band]->table();
            if (i + 32 < direction.doubts) table.prefetch_entry(keys[doubtful[i + 32]] + step);
            if (i + 16 < direction.doubts) table.prefetch_key(keys[doubtful[i + 16]] + step);
            const uint32_t neighbour = slots.find_near(keys[doubtful[i]] + step, band);
            next[doubtful[i]] = neighbour;
            if (neighbour != kNone) preceded[neighbour] = 1;
        }
    }

    static void write_chains(Direction& direction, const Slots<D, Key>& slots, uint32_t* chain,
                             std::vector<size_t>& cuts) {
        const uint32_t* const next = direction.next.data();
        const uint8_t* const preceded = direction.preceded.data();
        uint32_t* const starts = direction.doubtful.data();  // its memory is free again
        const uint32_t slot_count = slots.count();
        uint32_t chains = 0;
        for (uint32_t i = 0; i < slot_count; ++i) {  // without vertices that are alone: the blur does not change them
            starts[chains] = i;
            chains += !preceded[i] & (next[i] != kNone);
        }
        size_t length = 0;
        for (uint32_t i = 0; i < chains; ++i) {
            // A walk waits for memory at every step, and chains are short: fetch those of later chains meanwhile.
            if (i + 24 < chains) __builtin_prefetch(&next[next[starts[i + 24]]]);
            if (i + 16 < chains) {
                const uint32_t third = next[next[starts[i + 16]]];
                if (third != kNone) __builtin_prefetch(&next[third]);
            }
            for (uint32_t slot = starts[i]; slot != kNone; slot = next[slot]) chain[length++] = slot;
            chain[length - 1] |= kChainEnd;
        }
        cuts.assign(1, 0);
        for (int thread = 1; thread < slots.bands(); ++thread) {
            size_t cut = std::max(cuts.back(), length * thread / slots.bands());
            while (cut > cuts.back() && cut < length && !(chain[cut - 1] & kChainEnd)) ++cut;
            cuts.push_back(cut);
        }
        cuts.push_back(length);
    }

    Direction directions_[D + 1];
};

}  // namespace crf
