// The blur of the two lattices (Adams, Baek & Davis, EG 2010): see lattice_pair.hpp.

#include "lattice_pair.hpp"

#include <vector>

namespace crf {
namespace {

void add_aliases(const std::vector<Alias>& aliases, int thread, int threads, float* values, size_t lanes) {
    const size_t begin = aliases.size() * thread / threads, end = aliases.size() * (thread + 1) / threads;
    for (size_t i = begin; i < end; ++i) {
        float* const to = values + aliases[i].original * lanes;
        const float* const from = values + aliases[i].slot * lanes;
        for (size_t k = 0; k < lanes; ++k) to[k] += from[k];
    }
}

void copy_to_aliases(const std::vector<Alias>& aliases, float* values, size_t lanes) {
    for (const Alias& alias : aliases)
        std::copy_n(values + alias.original * lanes, lanes, values + alias.slot * lanes);
}

template <int D>
void blur_direction(const Lattice<D>& lattice, int direction, int thread, float* values, int vectors) {
    const size_t begin = lattice.cuts[direction][thread], end = lattice.cuts[direction][thread + 1];
    kernels().blur(values, lattice.chains[direction].data() + begin, end - begin, vectors);
}

}  // namespace

void LatticePair::blur(int thread, int threads, float* values, Barrier& barrier) const {
    float* const gaussian_values = values + gaussian_offset_;
    barrier.wait();
    for (int band = 1; band < threads; ++band) {  // one after the other: aliases of two bands may share an original
        add_aliases(bilateral_.aliases[band], thread, threads, values, lanes_);
        add_aliases(gaussian_.aliases[band], thread, threads, gaussian_values, lanes_);
        barrier.wait();
    }
    for (int direction = 0; direction < 6; ++direction) {
        blur_direction(bilateral_, direction, thread, values, vectors_);
        if (direction < 3) blur_direction(gaussian_, direction, thread, gaussian_values, vectors_);
        barrier.wait();
    }
    copy_to_aliases(bilateral_.aliases[thread], values, lanes_);
    copy_to_aliases(gaussian_.aliases[thread], gaussian_values, lanes_);
}

}  // namespace crf
