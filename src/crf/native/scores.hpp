// The scores of an image as log probabilities of its pixels, and which classes take part in mean field.
//
// Classes whose largest probability in the image is below `prune`, and would be with the most favourable messages, are
// pruned: they get no messages, and only their share of the softmax remains.

#pragma once

#include <cstdint>
#include <vector>

#include "layout.hpp"
#include "memory.hpp"
#include "request.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {

// Classes, and their values' place in vectors: class numbers[k] in lane k.
struct Classes {
    explicit Classes(Array<float>& score_map) : score_map(score_map) {}
    int count() const { return int(numbers.size()); }
    int vectors() const { return (count() + kLanes - 1) / kLanes; }
    size_t lanes() const { return size_t(vectors()) * kLanes; }

    std::vector<int> numbers;
    Array<float>& score_map;  // cells x lanes, where there is a stride
};

class Scores {
  public:
    Scores(const Request& request, const Tiling& tiling, Workspace& workspace);

    // Allocates, in one thread.
    void begin();
    // The log sum exp of each pixel of a band, and its largest log probability of each class.
    void normalise(int band);
    // Which classes are kept, when all bands are normalised. In one thread.
    void choose_classes();

    // The log probabilities of a tile's pixels row by row, kept classes only.
    void read_tile(int thread, const Tile& tile, float* out) const;
    // Stores what was read of a tile in the order of its bilateral pixels, where that is faster than to read it again.
    void store_tile(const Tile& tile, const PixelWeights<6>* pixels, const float* rows);
    // Null where they are not stored.
    const float* stored_tile(const Tile& tile) const {
        return request_.stride ? nullptr : &workspace_.log_probabilities[tile.first_pixel * kept_.lanes()];
    }
    // The log probabilities of a row of the tile, all classes.
    void read_row(int thread, const Tile& tile, int row, float* out) const;

    const Classes& all() const { return all_; }
    const Classes& kept() const { return kept_; }
    // What each kept class adds to the messages of all of them: a row of lanes for each class. Null: to its own only.
    const float* affinity_rows() const { return request_.affinity ? workspace_.affinity_rows.data() : nullptr; }
    bool is_kept(int number) const { return is_kept_[number]; }
    bool any_pruned() const { return kept_.count() < all_.count(); }

  private:
    void interleave_score_map(const Classes& classes);
    void gather_affinity();
    float head_start(int number) const;
    void read_scores(int thread, const Tile& tile, int row, const Classes& classes, const float* offset,
                     float* out) const;
    // Whether log probabilities are stored by `normalise`: scores are as large as the image, and all classes are kept.
    bool stores_at_once() const { return !request_.stride && !(request_.prune > 0); }

    const Request& request_;
    const Tiling& tiling_;
    Workspace& workspace_;
    Classes all_, kept_;
    std::vector<uint8_t> is_kept_;
};

}  // namespace crf
