// The lattice of the Gaussian kernel. It depends on the image's size alone, so the last few are kept.

#pragma once

#include <memory>

#include "lattice.hpp"
#include "request.hpp"
#include "tiles.hpp"
#include "workspace.hpp"

namespace crf {

// From the cache, or built. Thread-safe.
std::shared_ptr<const Lattice<2>> gaussian_lattice(const Request& request, const Tiling& tiling, Workspace& workspace);

}  // namespace crf
