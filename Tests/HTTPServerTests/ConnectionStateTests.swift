import NIOCore
import Testing

@testable import HTTPServer

@Suite("A connection's deadlines")
struct ConnectionStateTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private static var limits: ServerLimits {
        var limits = ServerLimits()
        limits.headTime = .seconds(10)
        limits.idleTime = .seconds(60)
        limits.progressTime = .seconds(30)
        limits.progressBytes = 1000
        limits.exchangeTime = .seconds(3600)
        limits.lingerTime = .seconds(2)
        limits.lingerMaximum = .seconds(9)
        return limits
    }

    private func at(_ seconds: Int64) -> NIODeadline { Self.start + .seconds(seconds) }

    private func fresh() -> ConnectionState { ConnectionState(limits: Self.limits, now: Self.start) }

    private func exchange(
        keepAlive: Bool = true, isHead: Bool = false, expectsContinue: Bool = false
    ) -> ConnectionState.Exchange {
        .init(keepAlive: keepAlive, isHead: isHead, expectsContinue: expectsContinue)
    }

    private func progress(_ moved: Int64, unsent: Bool = false) -> ConnectionState.Progress {
        .init(moved: moved, hasUnsent: unsent)
    }

    @Test("A client that sends no head is given up after headTime, whatever else it sends")
    func slowHead() {
        var state = fresh()
        #expect(state.check(now: at(9)) == .again(at(10)))
        #expect(state.check(now: at(10)) == .sample)
        #expect(state.judge(progress(5000), now: at(10)) == .close)
    }

    @Test("After a response the client has idleTime for the next head")
    func idle() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 0, now: Self.start)
        state.requestEnd()
        _ = state.responseHead(wantsClose: false)
        #expect(state.responseEnd(now: at(5)) == false)
        #expect(state.check(now: at(10)) == .again(at(65)))
        #expect(state.check(now: at(65)) == .sample)
        #expect(state.judge(progress(1), now: at(65)) == .close)
    }

    @Test("A client that still takes what was sent to it is not idle; one that has stopped is cut")
    func slowTail() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 0, now: Self.start)
        state.requestEnd()
        _ = state.responseHead(wantsClose: false)
        _ = state.responseEnd(now: at(0))
        #expect(state.judge(progress(10_000, unsent: true), now: at(60)) == .again(at(90)))
        #expect(state.judge(progress(12_000, unsent: true), now: at(90)) == .again(at(120)))
        #expect(state.judge(progress(12_500, unsent: true), now: at(120)) == .close)
    }

    @Test("A body must come by progressBytes in each progressTime; whoever reads it is told first")
    func stalledBody() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 1 << 30, now: Self.start)
        state.isReading = true
        #expect(state.check(now: at(30)) == .sample)
        #expect(state.judge(progress(5000), now: at(30)) == .again(at(60)))
        #expect(state.judge(progress(6000), now: at(60)) == .again(at(90)))
        #expect(state.judge(progress(6999), now: at(90)) == .stalled(again: at(120)))
        #expect(state.judge(progress(6999), now: at(120)) == .again(at(150)))
        _ = state.responseHead(wantsClose: false)
        #expect(state.judge(progress(6999), now: at(150)) == .close)
    }

    @Test("A server that does not read is not the client's fault")
    func backPressure() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 1 << 30, now: Self.start)
        state.isReading = false
        #expect(state.check(now: at(30)) == .again(at(60)))
        #expect(state.check(now: at(6000)) == .again(at(6030)))
    }

    @Test("A client that does not read its response is cut after two stretches without progress")
    func slowReader() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 0, now: Self.start)
        state.requestEnd()
        _ = state.responseHead(wantsClose: false)
        state.isBlocked = true
        #expect(state.check(now: at(30)) == .sample)
        #expect(state.judge(progress(100_000), now: at(30)) == .again(at(60)))
        #expect(state.judge(progress(200_000), now: at(60)) == .again(at(90)))
        #expect(state.judge(progress(200_000), now: at(90)) == .close)
    }

    @Test("A client that is always about to be done is cut after exchangeTime, with an answer if there can be one")
    func endless() {
        var sender = fresh()
        sender.requestHead(exchange(), bodyLength: 1 << 30, now: at(10))
        sender.isReading = true
        var reader = fresh()
        reader.requestHead(exchange(), bodyLength: 0, now: at(10))
        reader.requestEnd()
        _ = reader.responseHead(wantsClose: false)
        reader.isBlocked = true
        for (count, time) in stride(from: Int64(40), to: 3610, by: 30).enumerated() {
            let moved = progress(Int64(count) * 5000)
            #expect(sender.judge(moved, now: at(time)) == .again(at(time + 30)))
            #expect(reader.judge(moved, now: at(time)) == .again(at(time + 30)))
        }
        #expect(sender.judge(progress(1 << 40), now: at(3610)) == .stalled(again: at(3640)))
        #expect(reader.judge(progress(1 << 40), now: at(3610)) == .close)
    }

    @Test("Each request of a connection has its own time")
    func fresher() {
        var state = fresh()
        for second in stride(from: Int64(0), to: 10_000, by: 2000) {
            state.requestHead(exchange(), bodyLength: 0, now: at(second))
            state.requestEnd()
            _ = state.responseHead(wantsClose: false)
            state.isBlocked = true
            _ = state.judge(progress(second * 1000), now: at(second + 1900))
            #expect(state.judge(progress(second * 1000 + 5000), now: at(second + 1930)) == .again(at(second + 1960)))
            state.isBlocked = false
            _ = state.responseEnd(now: at(second + 1990))
        }
    }

    @Test("The rest of a body that nobody wants must come on too")
    func unwanted() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 10_000, now: Self.start)
        _ = state.responseHead(wantsClose: false)
        #expect(state.responseEnd(now: at(1)) == false)
        state.isReading = true
        #expect(state.check(now: at(30)) == .sample)
        #expect(state.judge(progress(100), now: at(30)) == .again(at(60)))
        #expect(state.judge(progress(200), now: at(60)) == .close)
    }

    @Test("While a route thinks, nobody is cut")
    func thinking() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 0, now: Self.start)
        state.requestEnd()
        #expect(state.check(now: at(10_000)) == .again(at(10_030)))
    }

    @Test(
        "The connection closes after an answer that leaves much of the body unread",
        arguments: [
            (Int64?.some(0), 0, false, false), (10_000, 0, false, false), (10_000, 0, true, true),
            (100_000, 0, false, true), (100_000, 50_000, false, false), (nil, 0, false, true),
        ])
    func unreadBody(length: Int64?, received: Int, expects: Bool, closes: Bool) {
        var state = fresh()
        state.requestHead(exchange(expectsContinue: expects), bodyLength: length, now: Self.start)
        if received > 0 { state.requestBody(received) }
        #expect(state.responseHead(wantsClose: false).close == closes)
        #expect(state.responseEnd(now: at(1)) == closes)
    }

    @Test("Draining closes after the response that is under way")
    func draining() {
        var state = fresh()
        state.requestHead(exchange(), bodyLength: 0, now: Self.start)
        state.requestEnd()
        state.drain()
        #expect(state.responseHead(wantsClose: false).close)
        #expect(state.responseEnd(now: at(1)) == true)
    }

    @Test("A pipelined request's own wish decides when the connection closes")
    func pipelined() {
        var state = fresh()
        state.requestHead(exchange(keepAlive: true), bodyLength: 0, now: Self.start)
        state.requestEnd()
        state.requestHead(exchange(keepAlive: false, isHead: true), bodyLength: 0, now: Self.start)
        state.requestEnd()
        #expect(state.responseHead(wantsClose: false) == (exchange(), false))
        #expect(state.responseEnd(now: at(1)) == false)
        #expect(state.responseHead(wantsClose: false) == (exchange(keepAlive: false, isHead: true), true))
        #expect(state.responseEnd(now: at(2)) == true)
    }

    @Test("A closing connection swallows what comes until nothing does, but not for ever")
    func lingering() {
        var state = fresh()
        #expect(state.linger(now: at(5)) == at(7))
        #expect(state.check(now: at(6)) == .again(at(7)))
        #expect(state.check(now: at(7)) == .close)
        for second in 6..<14 {
            state.swallowed(now: at(Int64(second)))
            #expect(state.check(now: at(Int64(second))) == .again(at(min(Int64(second) + 2, 14))))
        }
        #expect(state.check(now: at(14)) == .close)
    }

    @Test("100 Continue is owed until the body is asked for or comes by itself")
    func expectation() {
        var state = fresh()
        state.requestHead(exchange(expectsContinue: true), bodyLength: 10, now: Self.start)
        #expect(state.awaitsContinue)
        state.requestBody(1)
        #expect(!state.awaitsContinue)
    }
}
