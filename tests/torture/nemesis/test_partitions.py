#!/usr/bin/env python3
"""The shapes of partitions are what their names say, whatever is drawn; and the rules for the switch cut just them."""

import os
import random
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from nemesis import partitions # noqa: E402
from nemesis.history import Keyword, edn # noqa: E402
from nemesis.network import ruleset # noqa: E402

SEEDS = range(200)
CLIENTS = ["c1", "c2", "c3"]


def cases():
    for count in (3, 5):
        for seed in SEEDS:
            yield random.Random(f"{count} {seed}"), [f"n{index}" for index in range(1, count + 1)]


def both_hear(pairs, nodes, node):
    """Who hears this node and is heard by it, itself included."""
    return [other for other in nodes if (node, other) not in pairs and (other, node) not in pairs]


class Shapes(unittest.TestCase):
    def test_halves_leave_a_majority_and_cut_it_off(self):
        for rng, nodes in cases():
            pairs = partitions.halves(rng, nodes, CLIENTS)
            sizes = sorted(len(both_hear(pairs, nodes, node)) for node in nodes)
            self.assertGreater(sizes[-1], len(nodes) // 2)
            self.assertLess(sizes[0], len(nodes) // 2 + 1)
            for client in CLIENTS:
                self.assertTrue(both_hear(pairs, nodes, client))

    def test_one_way_is_never_both_ways(self):
        for rng, nodes in cases():
            pairs = partitions.one_way(rng, nodes, CLIENTS)
            self.assertTrue(pairs)
            self.assertFalse({(b, a) for a, b in pairs} & pairs)

    def test_a_bridge_has_one_node_that_hears_all(self):
        for rng, nodes in cases():
            pairs = partitions.bridge(rng, nodes, CLIENTS)
            alone = [node for node in nodes if len(both_hear(pairs, nodes, node)) == len(nodes)]
            self.assertEqual(len(alone), 1)

    def test_in_a_ring_all_hear_a_majority_and_no_two_the_same(self):
        for rng, nodes in cases():
            pairs = partitions.ring(rng, nodes, CLIENTS)
            heard = [frozenset(other for other in nodes if (other, node) not in pairs) for node in nodes]
            self.assertEqual(len(set(heard)), len(nodes))
            self.assertTrue(all(len(some) > len(nodes) // 2 for some in heard))

    def test_an_isolated_node_hears_nobody_and_the_others_all(self):
        for rng, nodes in cases():
            pairs = partitions.isolated(rng, nodes, CLIENTS, "n2")
            self.assertEqual(both_hear(pairs, nodes + CLIENTS, "n2"), ["n2"])
            self.assertTrue(all("n2" in pair for pair in pairs))

    def test_cut_off_clients_leave_the_nodes_alone(self):
        for rng, nodes in cases():
            pairs = partitions.clients_cut(rng, nodes, CLIENTS)
            self.assertTrue(pairs)
            self.assertFalse([pair for pair in pairs if pair[0] in nodes and pair[1] in nodes])


class Text(unittest.TestCase):
    def test_the_rules_of_a_partition_are_one_transaction(self):
        text = ruleset({("n1", "n2"), ("n2", "n1"), ("n1", "c1")})
        self.assertEqual(text.count("delete table bridge torture"), 1)
        self.assertIn('iifname "n1" oifname { "c1", "n2" } drop', text)
        self.assertIn('iifname "n2" oifname { "n1" } drop', text)

    def test_values_are_edn(self):
        value = {"node": 1, "cut": ["a>b"], "why": Keyword("x"), "on": True, "text": 'a "b" \\ c'}
        self.assertEqual(edn(value), '{:node 1 :cut ["a>b"] :why :x :on true :text "a \\"b\\" \\\\ c"}')


if __name__ == "__main__":
    unittest.main()
