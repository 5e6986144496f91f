// Refines one image.
//
//   1. Scores become log probabilities; classes that appear nowhere are pruned (scores.hpp).
//   2. Two lattices are built, bilateral (5-d) and Gaussian (2-d): the simplices of each tile, the weights of its
//      pixels in them, chains of neighbours (lattice_builder.hpp).
//   3. Mean field iterates on them and writes the result (mean_field.hpp).
//
// Threads share an image by bands of rows (tiles.hpp) and meet at barriers.

#include "inference.hpp"

#include <memory>
#include <stdexcept>

#include "features.hpp"
#include "gaussian_cache.hpp"
#include "lattice_builder.hpp"
#include "mean_field.hpp"
#include "scores.hpp"
#include "threads.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {
namespace {

template <class Key>
void infer(const Request& request, const Tiling& tiling, const FeatureBounds<5>& bounds, const Lattice<2>& gaussian,
           LatticeBuilder<5, Key>& builder, Scores& scores, Workspace& workspace) {
    Barrier barrier(tiling.bands);
    MeanField mean_field(request, tiling, scores, gaussian, workspace, barrier);
    builder.begin(bounds, tiling, workspace.bilateral);
    run_in_threads(tiling.bands, barrier, [&](int thread) {
        scores.normalise(thread);
        builder.embed(thread, [&](int y, int left, int count, const float** features) {
            read_bilateral(request, y, left, count, workspace.threads[thread]->features, features);
        });
        barrier.wait();
        if (thread == 0) {
            scores.choose_classes();
            builder.merge();
            mean_field.begin();
        }
        barrier.wait();
        builder.link(thread);
        barrier.wait();
        builder.normalise(thread, workspace.ones, request.w1, barrier);
        mean_field.run(thread);
    });
}

void infer(const Request& request, Workspace& workspace) {
    const Tiling tiling(request.height, request.width, request.threads);
    while (int(workspace.threads.size()) < tiling.bands) workspace.threads.emplace_back(new ThreadScratch);
    Scores scores(request, tiling, workspace);
    scores.begin();
    const FeatureBounds<5> bounds = bilateral_bounds(request);
    const std::shared_ptr<const Lattice<2>> gaussian = gaussian_lattice(request, tiling, workspace);
    if (KeyPacking<5, uint64_t>::fits(bounds)) {
        infer(request, tiling, bounds, *gaussian, workspace.builder, scores, workspace);
    } else {
        if (!KeyPacking<5, WideKey>::fits(bounds)) throw std::invalid_argument("sxy or srgb is too small");
        auto builder = std::make_unique<LatticeBuilder<5, WideKey>>();
        infer(request, tiling, bounds, *gaussian, *builder, scores, workspace);
    }
}

}  // namespace

void refine(const Request& request) {
    // A thread keeps its memory for the next image, unless this one was out of the ordinary.
    constexpr size_t kOrdinaryPixels = size_t(1) << 20, kOrdinaryClasses = 64;
    thread_local std::unique_ptr<Workspace> workspace;
    if (!workspace) workspace = std::make_unique<Workspace>();
    try {
        infer(request, *workspace);
    } catch (...) {
        workspace.reset();
        throw;
    }
    if (size_t(request.height) * request.width > kOrdinaryPixels || size_t(request.classes) > kOrdinaryClasses)
        workspace.reset();
}

}  // namespace crf
