"""Which pairs of hosts do not hear each other, for each shape of a partition. Pure: names in, pairs (from, to) out."""


def between(some, others):
    """Nothing passes between the two, in either direction."""
    return {(a, b) for a in some for b in others} | {(b, a) for a in some for b in others}


def halves(rng, nodes, clients):
    """A majority and a minority; a client is on one of the sides, or sees both."""
    shuffled = rng.sample(nodes, len(nodes))
    minority = shuffled[:rng.randint(1, (len(nodes) - 1) // 2)]
    majority = [node for node in nodes if node not in minority]
    pairs = between(minority, majority)
    for client in clients:
        side = rng.choice((minority, majority, []))
        pairs |= between([client], [node for node in nodes if side and node not in side])
    return pairs


def one_way(rng, nodes, _clients):
    """Some are heard by the others and do not hear them, or the other way round."""
    some = rng.sample(nodes, rng.randint(1, len(nodes) - 1))
    others = [node for node in nodes if node not in some]
    return {(a, b) for a in some for b in others}


def bridge(rng, nodes, _clients):
    """Two halves that do not hear each other, and one node that hears both."""
    shuffled = rng.sample(nodes, len(nodes))
    rest = shuffled[1:]
    half = len(rest) // 2
    return between(rest[:half], rest[half:])


def ring(rng, nodes, _clients):
    """Everybody hears a majority, and nobody the same one: of five, each hears its two neighbours. (Three in a ring all
    hear each other: there, one direction of the ring is cut.)"""
    order = rng.sample(nodes, len(nodes))
    count = len(order)
    if count == 3:
        return {(order[index], order[(index + 1) % count]) for index in range(count)}
    reach = (count // 2) // 2
    near = {(a, b) for a in range(count) for b in range(count) if min((a - b) % count, (b - a) % count) <= reach}
    return {(order[a], order[b]) for a in range(count) for b in range(count) if (a, b) not in near}


def isolated(rng, nodes, clients, victim=None):
    """One node hears nobody and is heard by nobody."""
    victim = victim or rng.choice(nodes)
    return between([victim], [host for host in nodes + clients if host != victim])


def clients_cut(rng, nodes, clients, victim=None):
    """Clients do not reach one node, which the nodes do: a leader that leads nobody knows where."""
    victim = victim or rng.choice(nodes)
    cut_off = rng.sample(clients, rng.randint(1, len(clients)))
    pairs = between([victim], cut_off)
    return pairs if rng.random() < 0.7 else {pair for pair in pairs if pair[0] == victim}
