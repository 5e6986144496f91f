// Refines one image. This is all that the Python module calls.

#pragma once

#include "request.hpp"

namespace crf {

// Writes Q or labels. Throws std::bad_alloc, or std::exception with a message for the user.
void refine(const Request& request);

}  // namespace crf
