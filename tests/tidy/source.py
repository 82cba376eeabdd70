"""Reading the files that tidy looks at: which there are, and what in them is code, what comment."""

import os
import re
import subprocess

C_SUFFIXES = (".c", ".h")
EXCEPTION = re.compile(r"tidy: ([\w.-]+) because((?:\s+\S+){3,})")


class Source:
    """One text file. Lines count from 1; `code` and `comments` are parallel to `lines`.

    In `code` of a C file, comments and the insides of strings are blanked; `strings` keeps the strings. For other files
    the three are the same.
    """

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), "rb") as file:
            self.raw = file.read()
        self.is_text = b"\0" not in self.raw
        self.text = self.raw.decode("utf-8", errors="replace")
        self.lines = self.text.split("\n")
        if self.lines and self.lines[-1] == "":
            self.lines.pop()
        self.is_c = path.endswith(C_SUFFIXES)
        if self.is_c:
            self.code, self.comments, self.strings = (part.split("\n") for part in split_c(self.text))
        else:
            self.code = self.comments = self.strings = self.lines

    def is_shell(self):
        return self.path.endswith(".sh") or bool(re.match(r"#!.*\b(ba|da)?sh\b", self.text))

    def is_program(self):
        """Written by hand to be run or compiled, as opposed to prose and test data."""
        return (self.is_c or self.path.endswith((".py", ".cmake", "CMakeLists.txt")) or self.text.startswith("#!"))

    def excepts(self, word, first, last):
        """Whether a comment in the lines first..last carries an argued exception for `word`. The comment may go on
        over several lines, so that its reason may stand on the next."""
        text = "\n".join(self.comments[max(first, 1) - 1:last])
        return any(match.group(1) == word for match in EXCEPTION.finditer(text))

    def comment_start(self, line):
        """The first line of the comment that ends directly above `line`, or `line` if there is none."""
        start = line
        while start > 1 and self.comments[start - 2].strip() and not self.code[start - 2].strip():
            start -= 1
        return start

    def excepts_line(self, word, line):
        """Whether the line itself, or the comment directly above it, carries the exception."""
        first = self.comment_start(line) if self.is_c else line - 2
        return self.excepts(word, first, line)


# A comment, a string, a character, or anything else, one character at a time.
C_TOKEN = re.compile(r'(?P<comment>/\*.*?(?:\*/|\Z)|//[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')|.',
                     re.DOTALL)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def split_c(text):
    """The text three times, with the same lines: code with strings blanked, comments alone, strings alone.

    An #include's file name is kept as code, because rules ask about it.
    """
    code, comments, strings = [], [], []
    in_include = False
    for match in C_TOKEN.finditer(text):
        token = match.group()
        if token == "#":
            in_include = bool(re.match(r"#\s*include\b", text[match.start():match.start() + 40]))
        elif token == "\n":
            in_include = False
        is_comment = match.lastgroup == "comment"
        is_string = match.lastgroup == "string" and not in_include
        inner = token[0] + blank(token[1:-1]) + token[-1] if is_string else token
        code.append(blank(token) if is_comment else inner)
        comments.append(token if is_comment else blank(token))
        strings.append(token if is_string else blank(token))
    return "".join(code), "".join(comments), "".join(strings)


def list_files(root):
    """The files of the repository, tracked or about to be; of any other tree all files."""
    if os.path.exists(os.path.join(root, ".git")):
        command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
        return sorted({name for name in names if name and os.path.isfile(os.path.join(root, name))})
    found = []
    for folder, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(found)


def read_sources(root):
    """Every text file of the tree; what has a NUL byte is data, and so is what fuzz targets are fed with."""
    sources = (Source(root, path) for path in list_files(root) if not path.startswith("tests/fuzz/corpus/"))
    return [source for source in sources if source.is_text]


class Function:
    """A C function's place: `first` is the first line of its signature, `last` that of its closing brace."""

    def __init__(self, name, first, last):
        self.name = name
        self.first = first
        self.last = last


def c_functions(source):
    """Functions are found by layout: the body's braces are those in the first column, or one at a signature's end."""
    found = []
    opened = None
    for number, line in enumerate(source.code, start=1):
        if opened is None and (line.rstrip() == "{" or re.search(r"\)\s*\{\s*$", line)):
            opened = number
        elif opened is not None and line.startswith("}"):
            first = signature_start(source, opened)
            name = re.search(r"(\w+)\s*\(", " ".join(source.code[first - 1:opened]))
            if name:
                found.append(Function(name.group(1), first, number))
            opened = None
    return found


def signature_start(source, opened):
    first = opened
    while first > 1:
        above = source.code[first - 2].rstrip()
        if not above.strip() or above.endswith((";", "}")) or above.startswith("#"):
            break
        first -= 1
    return first
