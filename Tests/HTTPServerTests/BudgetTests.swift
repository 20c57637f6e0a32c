import Testing

@testable import HTTPServer

@Suite("What requests may hold")
struct BudgetTests {
    @Test(
        "Each share has its own bound, in MiB of 64, and together they are all",
        arguments: [
            (.strangers, 12), (.users, 16), (.documents, 12), (.archives, 16), (.operators, 8),
        ] as [(Budget.Share, Int)])
    func shares(share: Budget.Share, bound: Int) {
        let budget = Budget.memory(64 << 20)
        var taken = 0
        while budget.take(1 << 16, of: share) { taken += 1 << 16 }
        #expect(taken == bound << 20 && budget.bound(of: share) == taken)
        for other in Budget.Share.allCases where other != share {
            #expect(budget.take(budget.bound(of: other), of: other))
        }
        #expect(budget.used == 64 << 20)
        budget.give(1 << 16, of: share)
        #expect(budget.take(1 << 16, of: share))
    }

    @Test("A holding gives back what it has, once, whatever is given back to it afterwards")
    func holding() {
        let budget = Budget.memory(16_000)
        let holding = Holding(budget, .strangers)
        #expect(holding.take(2000))
        #expect(!holding.take(2000))
        holding.move(to: .users)
        #expect(holding.take(2000) && budget.used == 4000)
        #expect(budget.take(3000, of: .strangers))
        holding.move(to: .strangers)
        #expect(holding.share == .users, "there is no room for it")
        holding.give(1000)
        holding.release()
        #expect(budget.used == 3000)
        holding.give(1000)
        #expect(!holding.take(1))
        #expect(budget.used == 3000)
    }

    @Test("It tells how far it fell since it was asked last")
    func fallen() {
        let budget = Budget.memory(16_000)
        #expect(budget.take(3000, of: .users))
        budget.give(2000, of: .users)
        #expect(budget.fallen() == 2000)
        #expect(budget.fallen() == 0)
    }

    @Test("A head of ordinary size costs nothing, a large one more than its bytes until it is answered")
    func heads() {
        var meter = HeadMeter()
        for _ in 0..<100 {
            meter.read(2000)
            meter.head(1990)
            #expect(meter.use == 0)
            meter.answered(1990)
        }
        meter = HeadMeter()
        meter.read(60_000)
        #expect(meter.use == 3 * 60_000 - HeadMeter.allowance)
        meter.head(60_000)
        #expect(meter.use == 3 * 60_000 + 2048 - HeadMeter.allowance)
        meter.answered(60_000)
        #expect(meter.use == 0)
    }

    @Test("A body leaves nothing behind, however it is cut and framed")
    func bodies() {
        var meter = HeadMeter()
        meter.read(200)
        meter.head(200)
        for _ in 0..<100_000 {
            meter.read(1010)
            meter.body(1000)
            #expect(meter.use == 0)
        }
    }

    @Test("Heads behind others count, each with what a request takes besides")
    func pipelined() {
        var meter = HeadMeter()
        meter.read(60_000)
        for _ in 0..<100 { meter.head(20) }
        #expect(meter.use == 3 * 60_000 + 100 * 2048 - HeadMeter.allowance)
        for _ in 0..<100 { meter.answered(20) }
        // What the parser may still have of them.
        #expect(meter.use == 3 * 58_000 - HeadMeter.allowance)
    }
}
