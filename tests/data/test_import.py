"""Reading data costs NumPy's import, not torch's."""

import subprocess
import sys


def test_data_imports_without_torch():
    code = "import sys, linsight.data; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
