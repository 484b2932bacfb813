"""Sums and orthogonal factorisations over processes are those of all rows together, with the same bits in all of them."""

import pytest
import torch

from tests.coupled import in_processes, in_threads

ROWS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
# Shares of the rows: even ones, and processes with fewer rows than columns.
SHARES = {1: [40], 2: [37, 3], 3: [20, 0, 20]}


def all_of_it(coupling):
    """What a process gets of every method."""
    ends = [0]
    for number in SHARES[coupling.size]:
        ends.append(ends[-1] + number)
    mine = ROWS[ends[coupling.rank] : ends[coupling.rank + 1]]
    basis, triangle = coupling.orthogonal(mine)
    total, count = coupling.sums(mine.sum(0), torch.tensor([float(len(mine))], dtype=torch.float64))
    return dict(
        basis=basis,
        triangle=triangle,
        alone=coupling.triangle(mine),
        total=total,
        count=count,
        largest=coupling.largest(torch.tensor([float(coupling.rank), 1.0])),
        any=(coupling.any(coupling.rank == 0), coupling.any(False)),
        place=coupling.place(len(mine)),
        first=coupling.from_first({"rank": coupling.rank}),
        gathered=coupling.gathered(coupling.rank),
        share=coupling.share(10),
        is_first=coupling.is_first,
    )


@pytest.mark.parametrize(
    ("together", "size"),
    [
        *((in_threads, n) for n in (1, 2, 3)),
        (in_processes, 2),
        *(pytest.param(in_processes, n, marks=pytest.mark.exhaustive) for n in (1, 3)),
    ],
)
def test_every_process_gets_what_one_has_of_all_rows(size, together):
    found = together(size, all_of_it)
    basis, triangle = torch.cat([one["basis"] for one in found]), found[0]["triangle"]
    torch.testing.assert_close(basis @ triangle, ROWS, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(basis.t() @ basis, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-14)
    first = 0
    for rank, one in enumerate(found):
        for name in ("triangle", "alone", "total", "count"):
            assert torch.equal(one[name], found[0][name])
        assert one["place"] == (first, 40)
        first += SHARES[size][rank]
        assert one["any"] == (True, False)
        assert one["first"] == {"rank": 0}
        assert one["gathered"] == list(range(size))
        assert one["is_first"] == (rank == 0)
        assert one["largest"].tolist() == [max(size - 1.0, 0.0), 1.0]
    torch.testing.assert_close(found[0]["total"], ROWS.sum(0))
    assert found[0]["count"].tolist() == [40.0]
    expected = torch.linalg.qr(ROWS, mode="r").R.abs()
    torch.testing.assert_close(triangle.abs(), expected)
    torch.testing.assert_close(found[0]["alone"].abs(), expected)
    shares = [range(10)[one["share"]] for one in found]
    assert [number for share in shares for number in share] == list(range(10))
