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

    // Filters ones: the sums of the kernel at each pixel. Gives weights their share of the kernel's weight and of the
    // normalisation D^-1/2 K D^-1/2 (D: these sums), and slots their final numbers. Contains barriers.
    void normalise(int band, Array<float>& ones, float kernel_weight, Barrier& barrier);

  private:
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
