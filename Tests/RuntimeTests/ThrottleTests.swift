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

    @Test("have a throttle, and no other thread is")
    func current() async {
        let executor = BackgroundExecutor(threads: 2)
        let isKnown = await withTaskExecutorPreference(executor) { Throttle.current != nil }
        #expect(isKnown)
        #expect(Throttle.current == nil)
    }
}
