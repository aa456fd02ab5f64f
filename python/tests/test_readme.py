"""What the README shows, run as it stands there."""

import re
import subprocess
import sys
import unittest
from pathlib import Path

from fake import FakeSearch

SNIPPETS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text(), re.DOTALL)


class Readme(unittest.TestCase):
    def test_the_snippets(self):
        self.assertEqual(len(SNIPPETS), 2)
        for snippet in SNIPPETS:
            server = FakeSearch(work=3)
            self.addCleanup(server.stop)
            self.assertLessEqual(snippet.count("\n"), 30)
            program = snippet.replace("http://localhost:7778", server.url)
            subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
            self.assertEqual(sorted(server.answers), [0, 1, 2])
            self.assertIn("loss", server.answers[2][0])


if __name__ == "__main__":
    unittest.main()
