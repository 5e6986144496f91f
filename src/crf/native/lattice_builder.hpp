// Builds a permutohedral lattice from the features of an image's pixels.
//
// Every thread calls embed, link and normalise with its band; one thread calls begin before them, and merge between
// embed and link. Threads wait for each other between these.

#pragma once

#include "band_vertices.hpp"
#include "chains.hpp"
#include "lattice.hpp"
#include "slots.hpp"
#include "threads.hpp"
#include "tiles.hpp"

namespace crf {

template <int D, class Key>
class LatticeBuilder {
  public:
    void begin(const FeatureBounds<D>& bounds, const Tiling& tiling, Lattice<D>& lattice);

    // Places the band's pixels in their simplices.
    void embed(int band, const FeatureReader& read);

    // Numbers the vertices of all bands, and tells which bands share one.
    void merge();

    // Links vertices to chains of neighbours.
    void link(int band);

    // Filters an image of ones, which gives the sum of the kernel at each pixel. Multiplies the weights by the square
    // root of the kernel's weight over this sum: that is w D^-1/2 K D^-1/2, with the sums in D. Gives the slots of the
    // simplices their final numbers. Contains barriers.
    void normalise(int band, Array<float>& ones, float kernel_weight, Barrier& barrier);

  private:
    // The steps of normalise. `ones` has a value for each slot: ones splatted, then blurred.
    void splat_ones(int band, float* ones);
    void add_aliases(float* ones) const;  // of all bands
    void blur_direction(int direction, int band, float* ones) const;
    void copy_to_aliases(int band, float* ones) const;
    void scale_weights(int band, const float* ones, float kernel_weight);  // and numbers the slots of simplices anew

    template <class Work>
    void for_simplices(int band, const Work& work);

    const Tiling* tiling_ = nullptr;
    Lattice<D>* lattice_ = nullptr;
    Slots<D, Key> slots_;
    ChainLinker<D, Key> linker_;
};

extern template class LatticeBuilder<2, uint64_t>;
extern template class LatticeBuilder<5, uint64_t>;
extern template class LatticeBuilder<5, WideKey>;

}  // namespace crf
