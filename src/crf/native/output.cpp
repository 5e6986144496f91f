// Writes Q: see output.hpp.

#include "output.hpp"

#include "kernels/kernels.hpp"

namespace crf {

void Output::write_q(int thread, const Tile& tile, const float* q, const float* pruned_scale) const {
    const Classes &kept = scores_.kept(), &all = scores_.all();
    for (int i = 0; i < tile.rows; ++i) {
        const size_t place = size_t(tile.top + i) * request_.width + tile.left, pixel = size_t(i) * tile.columns;
        write_row(thread, kept, Which::kKept, place, tile.columns, q + pixel * kept.lanes());
        if (!scores_.any_pruned()) continue;
        float* const row = workspace_.threads[thread]->score_row.fit(kTile * all.lanes());
        scores_.read_row(thread, tile, i, row);
        kernels().exponentiate(row, pruned_scale + pixel, tile.columns, all.vectors());
        write_row(thread, all, Which::kPruned, place, tile.columns, row);
    }
}

// Values with classes innermost to class planes.
void Output::write_row(int thread, const Classes& classes, Which which, size_t place, int width,
                       const float* values) const {
    std::vector<float*>& planes = workspace_.threads[thread]->planes_out;
    planes.assign(classes.lanes(), nullptr);
    for (int k = 0; k < classes.count(); ++k) {
        const int number = classes.numbers[k];
        if (scores_.is_kept(number) == (which == Which::kKept))
            planes[k] = request_.q + number * size_t(request_.height) * request_.width + place;
    }
    kernels().deinterleave(values, planes.data(), width, classes.vectors());
}

}  // namespace crf
