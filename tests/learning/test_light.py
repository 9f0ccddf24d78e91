"""What a device loads to train: nothing heavy."""

import json
import subprocess
import sys

HEAVY = {"asyncio", "torch", "onnx", "onnxruntime", "scipy", "sklearn", "numpy.testing", "unittest", "multiprocessing"}


def test_training_evaluating_and_saving_load_nothing_heavy():
    modules = ("trainer", "evaluate", "standardise", "initialise", "splits", "model_file", "onnx_import", "torch_io")
    imports = "; ".join(f"import fedloom.learning.{name}" for name in modules)
    code = f"{imports}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert "numpy" in loaded
    assert not loaded & HEAVY
