// What one call asks for: an image, its scores, the parameters of the model, and where the result goes.
//
// The model: Kraehenbuehl & Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS
// 2011, with two kernels (bilateral and Gaussian) and one label compatibility for both.

#pragma once

#include <cstdint>

namespace crf {

struct Request {
    const void* image;  // 3 x height x width, RGB of 0..255, uint8 or float
    bool image_is_float;
    int height, width;
    const float* scores;  // classes x rows x columns, logits
    int classes, rows, columns;
    int stride;  // pixels between cells of the score map; 0: the scores are as large as the image, and Q is wanted
    float w1, sy, sx, srgb;  // bilateral kernel: weight, widths in pixels, width in grey levels
    float w2, sg;            // Gaussian kernel: weight, width in pixels
    const float* affinity;   // classes x classes: what the column's class adds to the row's; null: the identity (Potts)
    float message_bound;     // about the largest message that a class can get
    int iterations;
    float prune;  // classes that nowhere reach this probability get no messages; 0: none is pruned
    int threads;
    float* q;  // classes x height x width; this or one of the next two
    uint8_t* labels8;   // height x width
    int64_t* labels64;  // height x width
};

}  // namespace crf
