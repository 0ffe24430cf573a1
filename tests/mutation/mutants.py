"""Programs that differ from a module in one comparison, one boolean or one ``not``."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
"""What stands in place of each comparison: its boundary moved, and its opposite."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one expression changed; ``name`` says which, whatever else changes there."""

    name: str
    code: CodeType


def mutants_of(source: str, file: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    sites = Sites()
    sites.visit(tree)
    named: Counter[str] = Counter()
    for where, node in sites.found:
        before = ast.unparse(node)
        for _ in changes(node):
            name = f"{where}: {before} -> {ast.unparse(node)}"
            named[name] += 1
            again = f" #{named[name]}" if named[name] > 1 else ""
            yield Mutant(name + again, compile(tree, file, "exec"))


class Sites(ast.NodeVisitor):
    """Finds what runs within functions, with the name of the function."""

    def __init__(self) -> None:
        """Find nothing yet."""
        self.found: list[tuple[str, ast.AST]] = []
        self._within: list[str] = []
        self._functions = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Look at what is in the class, not at how it is made."""
        self._within.append(node.name)
        for each in node.body:
            self.visit(each)
        self._within.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Look at what is in the function, not at defaults and decorators."""
        self._functions += 1
        self._within.append(node.name)
        for each in node.body:
            self.visit(each)
        self._within.pop()
        self._functions -= 1

    def visit_keyword(self, node: ast.keyword) -> None:
        """Look into all but ``strict`` of ``zip``, which asserts and decides nothing."""
        if node.arg != "strict":
            self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        """Note a node, and look into it."""
        if self._functions:
            self.found.append((".".join(self._within), node))
        super().visit(node)


def changes(node: ast.AST) -> Iterator[None]:
    """Change a node in every way there is, each for as long as it takes to go on."""
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in COMPARISONS[type(operator)]:
                    node.ops[place] = other()
                    yield
                node.ops[place] = operator
        case ast.BoolOp():
            operator_before = node.op
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield
            node.op = operator_before
        case ast.UnaryOp(op=ast.Not()):
            operand = node.operand
            node.operand = ast.copy_location(ast.UnaryOp(ast.Not(), operand), operand)
            yield
            node.operand = operand
        case ast.Constant(value=bool()):
            node.value = not node.value
            yield
            node.value = not node.value
