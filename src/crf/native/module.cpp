// The Python module src.crf._native: checks the arguments and calls `refine` without the interpreter's lock.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "inference.hpp"
#include "kernels/kernels.hpp"

namespace {

// The memory of an array, as long as it lives.
struct Buffer {
    Py_buffer view{};
    bool is_held = false;
    ~Buffer() {
        if (is_held) PyBuffer_Release(&view);
    }
    // Sets a Python error and returns false where the array is not C-contiguous, or of other dimensions or type.
    bool get(PyObject* object, int dimensions, const char* formats, bool writable, const char* name) {
        const int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object, &view, flags)) return false;
        is_held = true;
        if (view.ndim != dimensions || !view.format || std::strlen(view.format) != 1 ||
            !std::strchr(formats, view.format[0])) {
            PyErr_Format(PyExc_ValueError, "%s: expected %d dimensions of type %s", name, dimensions, formats);
            return false;
        }
        return true;
    }
};

bool fit_together(const Py_buffer& image, const Py_buffer& scores, const Py_buffer& out, int stride, int threads) {
    const Py_ssize_t *const size = image.shape, *const cells = scores.shape, *const result = out.shape;
    if (size[0] != 3 || size[1] <= 0 || size[2] <= 0 || size[1] >= (1 << 24) || size[2] >= (1 << 24)) return false;
    if (cells[0] <= 0 || cells[1] <= 0 || cells[2] <= 0 || cells[0] > (1 << 16)) return false;
    if (threads <= 0 || stride < 0) return false;
    if (stride == 0)
        return cells[1] == size[1] && cells[2] == size[2] && result[0] == cells[0] && result[1] == size[1] &&
               result[2] == size[2];
    return (cells[1] - 1) * stride + 1 >= size[1] && (cells[2] - 1) * stride + 1 >= size[2] && result[0] == size[1] &&
           result[1] == size[2] && (out.itemsize == 8 || (out.itemsize == 1 && cells[0] <= 256));
}

PyObject* refine(PyObject*, PyObject* arguments) {
    PyObject *image_object, *scores_object, *out_object, *affinity_object = Py_None;
    int stride, iterations, threads;
    double w1, sy, sx, srgb, w2, sg, prune, largest_affinity = 1;
    if (!PyArg_ParseTuple(arguments, "OOOi(dddddd)idi|Od", &image_object, &scores_object, &out_object, &stride, &w1, &sy,
                          &sx, &srgb, &w2, &sg, &iterations, &prune, &threads, &affinity_object, &largest_affinity))
        return nullptr;
    Buffer image, scores, out, affinity;
    const bool wants_q = stride == 0;
    if (!image.get(image_object, 3, "Bf", false, "image")) return nullptr;
    if (!scores.get(scores_object, 3, "f", false, "scores")) return nullptr;
    if (!out.get(out_object, wants_q ? 3 : 2, wants_q ? "f" : "Blq", true, "out")) return nullptr;
    if (!fit_together(image.view, scores.view, out.view, stride, threads)) {
        PyErr_SetString(PyExc_ValueError, "image, scores and out do not fit together");
        return nullptr;
    }

    if (affinity_object != Py_None) {
        if (!affinity.get(affinity_object, 2, "f", false, "affinity")) return nullptr;
        const Py_ssize_t classes = scores.view.shape[0];
        if (affinity.view.shape[0] != classes || affinity.view.shape[1] != classes) {
            PyErr_SetString(PyExc_ValueError, "affinity and scores do not fit together");
            return nullptr;
        }
    }

    crf::Request request{};
    request.image = image.view.buf;
    request.image_is_float = image.view.format[0] == 'f';
    request.height = int(image.view.shape[1]);
    request.width = int(image.view.shape[2]);
    request.scores = static_cast<const float*>(scores.view.buf);
    request.classes = int(scores.view.shape[0]);
    request.rows = int(scores.view.shape[1]);
    request.columns = int(scores.view.shape[2]);
    request.stride = stride;
    request.w1 = float(w1);
    request.sy = float(sy);
    request.sx = float(sx);
    request.srgb = float(srgb);
    request.w2 = float(w2);
    request.sg = float(sg);
    request.affinity = static_cast<const float*>(affinity.view.buf);
    request.message_bound = float((w1 + w2) * largest_affinity);
    request.iterations = iterations;
    request.prune = float(prune);
    request.threads = std::min(threads, request.height);
    if (wants_q)
        request.q = static_cast<float*>(out.view.buf);
    else if (out.view.itemsize == 1)
        request.labels8 = static_cast<uint8_t*>(out.view.buf);
    else
        request.labels64 = static_cast<int64_t*>(out.view.buf);

    std::string problem;
    bool is_out_of_memory = false;
    Py_BEGIN_ALLOW_THREADS;
    try {
        crf::refine(request);
    } catch (const std::bad_alloc&) {
        is_out_of_memory = true;
    } catch (const std::exception& error) {
        problem = error.what();
    }
    Py_END_ALLOW_THREADS;
    if (is_out_of_memory) return PyErr_NoMemory();
    if (!problem.empty()) {
        PyErr_SetString(PyExc_ValueError, problem.c_str());
        return nullptr;
    }
    Py_RETURN_NONE;
}

PyObject* level(PyObject*, PyObject*) { return PyUnicode_FromString(crf::kernels().name); }

PyMethodDef methods[] = {
    {"refine", refine, METH_VARARGS,
     "refine(image, scores, out, stride, (w1, sy, sx, srgb, w2, sg), iterations, prune, threads, affinity=None,\n"
     "       largest_affinity=1)\n\n"
     "image: uint8 or float32, 3 x height x width.\n"
     "affinity: float32, classes x classes; None for the identity.\n"
     "stride 0: scores and out are float32, classes x height x width; out becomes Q.\n"
     "Otherwise scores are a float32 score map of that stride, and out is uint8 or int64, height x width; it becomes\n"
     "the labels. Releases the interpreter's lock. Raises ValueError."},
    {"level", level, METH_NOARGS, "Return the instruction set in use: baseline, avx2 or avx512."},
    {nullptr, nullptr, 0, nullptr},
};
PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "Dense CRF inference on the CPU.", -1, methods,
                      nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&module); }
