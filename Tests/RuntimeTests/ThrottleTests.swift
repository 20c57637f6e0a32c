import Testing

@testable import Runtime

@Suite("Background threads")
struct ThrottleTests {
    @Test("rest several times as long as they worked if they waited, and not at all if nobody wants their processor")
    func rests() {
        let millisecond: Int64 = 1_000_000
        #expect(Throttle.rest(after: 2 * millisecond, waiting: 0) == 0)
        #expect(Throttle.rest(after: 2 * millisecond, waiting: 50_000) == 0)
        #expect(Throttle.rest(after: 2 * millisecond, waiting: 150_000) == 16 * millisecond)
        #expect(Throttle.rest(after: 2 * millisecond, waiting: nil) == 16 * millisecond, "who knows")
        #expect(Throttle.rest(after: .max, waiting: .max) == Throttle.longestRest)
        #expect(Throttle.rest(after: 50 * millisecond, waiting: 50 * millisecond) == Throttle.longestRest)
    }

    @Test("may block, and have a throttle if they give way; no other thread does", arguments: [true, false])
    func current(_ givesWay: Bool) async {
        let executor = BlockingExecutor(name: "test", threads: 2, givesWay: givesWay)
        let (mayBlock, hasThrottle) = await withTaskExecutorPreference(executor) {
            (BlockingThread.current != nil, BlockingThread.current?.throttle != nil)
        }
        #expect(mayBlock)
        #expect(hasThrottle == givesWay)
        #expect(BlockingThread.current == nil)
    }
}
