#!/usr/bin/env python3
"""Checks that the links between the documents of a folder lead to files and headings that
are there: links.py FOLDER. Prints the others; exit status 1 if there are any.
"""
import pathlib
import re
import sys


def prose(text):
    """The text without its code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = "\n".join("" if line.startswith("    ") else line for line in text.splitlines())
    return re.sub(r"`[^`]*`", "", text)


def anchors(text):
    """The names of its headings, as viewers of Markdown make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    named = set(re.findall(r'<a id="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, flags=re.M):
        heading = re.sub(r"<[^>]*>|\]\([^)]*\)", "", heading)
        named.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return named


folder = pathlib.Path(sys.argv[1])
seen, wrong = 0, []
for document in sorted(folder.rglob("*.md")):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text(encoding="utf-8"))):
        if re.match("[a-z]+:", link):
            continue
        seen += 1
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists():
            wrong.append(f"{document}: no {link}")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            wrong.append(f"{document}: no heading for {link}")
print(f"{seen} links")
if wrong or seen < 100:
    sys.exit("\n".join(wrong) or "hardly any links: are the documents there?")
