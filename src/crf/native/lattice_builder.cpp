// Builds a permutohedral lattice: see lattice_builder.hpp.

#include "lattice_builder.hpp"

#include <algorithm>
#include <cmath>

namespace crf {

template <int D, class Key>
void LatticeBuilder<D, Key>::begin(const FeatureBounds<D>& bounds, const Tiling& tiling, Lattice<D>& lattice) {
    tiling_ = &tiling;
    lattice_ = &lattice;
    slots_.begin(bounds, tiling.bands);
    lattice.pixels.fit(tiling.pixels());
    lattice.simplices.fit(tiling.pixels());
    lattice.simplex_count.assign(tiling.tiles.size(), 0);
    lattice.aliases.assign(tiling.bands, {});
    lattice.first_slot.assign(tiling.tiles.size() + 1, 0);
}

template <int D, class Key>
void LatticeBuilder<D, Key>::embed(int band, const FeatureReader& read) {
    BandVertices<D, Key>& vertices = *slots_.band_vertices[band];
    vertices.clear();
    tiling_->for_tiles(band, [&](const Tile& tile, size_t number) {
        lattice_->first_slot[number] = vertices.table().count();
        vertices.embed_tile(tile, number, slots_.packing, read, *lattice_);
    });
}

template <int D, class Key>
void LatticeBuilder<D, Key>::merge() {
    slots_.merge(*lattice_);
    lattice_->first_slot.back() = slots_.count();
}

template <int D, class Key>
void LatticeBuilder<D, Key>::link(int band) {
    const uint32_t first_slot = slots_.first_slot[band];
    tiling_->for_tiles(band, [&](const Tile&, size_t number) { lattice_->first_slot[number] += first_slot; });
    linker_.link(band, slots_, *lattice_);
}

template <int D, class Key>
void LatticeBuilder<D, Key>::normalise(int band, Array<float>& ones, float kernel_weight, Barrier& barrier) {
    if (band == 0) ones.fit(lattice_->slots);
    barrier.wait();
    splat_ones(band, ones.data());
    barrier.wait();
    if (band == 0) add_aliases(ones.data());
    barrier.wait();
    for (int direction = 0; direction <= D; ++direction) {
        blur_direction(direction, band, ones.data());
        barrier.wait();
    }
    copy_to_aliases(band, ones.data());
    scale_weights(band, ones.data(), kernel_weight);
    barrier.wait();
}

template <int D, class Key>
void LatticeBuilder<D, Key>::splat_ones(int band, float* ones) {
    constexpr int kCorners = D + 1;
    float* const band_ones = ones + slots_.first_slot[band];
    std::fill(band_ones, ones + slots_.first_slot[band + 1], 0.f);
    for_simplices(band, [=](Simplex<kCorners>& simplex, PixelWeights<kCorners>* pixels) {
        float sum[kCorners] = {};
        for (uint32_t n = 0; n < simplex.pixels; ++n)
            for (int k = 0; k < kCorners; ++k) sum[k] += pixels[n].weights[k];
        for (int k = 0; k < kCorners; ++k) band_ones[simplex.slots[k]] += sum[k];
    });
}

template <int D, class Key>
void LatticeBuilder<D, Key>::add_aliases(float* ones) const {
    for (const std::vector<Alias>& aliases : lattice_->aliases)
        for (const Alias& alias : aliases) ones[alias.original] += ones[alias.slot];
}

template <int D, class Key>
void LatticeBuilder<D, Key>::blur_direction(int direction, int band, float* ones) const {
    const uint32_t* const chain = lattice_->chains[direction].data();
    const std::vector<size_t>& cuts = lattice_->cuts[direction];
    float before = 0;
    for (size_t i = cuts[band]; i < cuts[band + 1]; ++i) {
        const bool is_last = chain[i] & kChainEnd;
        const uint32_t slot = chain[i] & ~kChainEnd;
        const float here = ones[slot];
        const float after = is_last ? 0.f : ones[chain[i + 1] & ~kChainEnd];
        ones[slot] = here + 0.5f * (before + after);
        before = is_last ? 0.f : here;
    }
}

template <int D, class Key>
void LatticeBuilder<D, Key>::copy_to_aliases(int band, float* ones) const {
    for (const Alias& alias : lattice_->aliases[band]) ones[alias.slot] = ones[alias.original];
}

template <int D, class Key>
void LatticeBuilder<D, Key>::scale_weights(int band, const float* ones, float kernel_weight) {
    constexpr int kCorners = D + 1;
    const uint32_t first_slot = slots_.first_slot[band];
    for_simplices(band, [=](Simplex<kCorners>& simplex, PixelWeights<kCorners>* pixels) {
        float corner[kCorners];
        for (int k = 0; k < kCorners; ++k) {
            simplex.slots[k] += first_slot;
            corner[k] = ones[simplex.slots[k]];
        }
        for (uint32_t n = 0; n < simplex.pixels; ++n) {
            float sum = 0;
            for (int k = 0; k < kCorners; ++k) sum += pixels[n].weights[k] * corner[k];
            const float scale = std::sqrt(kernel_weight / (sum + 1e-20f));
            for (int k = 0; k < kCorners; ++k) pixels[n].weights[k] *= scale;
        }
    });
}

template <int D, class Key>
template <class Work>
void LatticeBuilder<D, Key>::for_simplices(int band, const Work& work) {
    tiling_->for_tiles(band, [&](const Tile& tile, size_t number) {
        Simplex<D + 1>* const begin = lattice_->simplices.data() + tile.first_pixel;
        PixelWeights<D + 1>* pixels = lattice_->pixels.data() + tile.first_pixel;
        for (Simplex<D + 1>* simplex = begin; simplex < begin + lattice_->simplex_count[number]; ++simplex) {
            work(*simplex, pixels);
            pixels += simplex->pixels;
        }
    });
}

template class LatticeBuilder<2, uint64_t>;
template class LatticeBuilder<5, uint64_t>;
template class LatticeBuilder<5, WideKey>;

}  // namespace crf
