import Glibc
import Testing

@testable import Launcher

@Suite("An init without system calls")
struct InitStateTests {
    private func state(
        rewrites: [Int32: Int32] = [:], isSession: Bool = true, drains: Bool = false, leftTerminal: Bool = false
    ) -> InitState {
        InitState(
            child: 2, forwarding: SignalForwarding(rewrites: rewrites, isSession: isSession), drains: drains,
            leftTerminal: leftTerminal)
    }

    @Test(
        "A signal goes on as it came",
        arguments: [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGALRM, SIGPIPE, 34, 64])
    func forwarded(signal: Int32) {
        var state = state()
        #expect(state.received(signal) == [.send(signal)])
    }

    @Test(
        "Job control stops a session by SIGSTOP, since nothing else stops an orphaned group",
        arguments: [SIGTSTP, SIGTTIN, SIGTTOU])
    func stopped(signal: Int32) {
        var session = state()
        #expect(session.received(signal) == [.send(SIGSTOP), .suspend])
        var single = state(isSession: false)
        #expect(single.received(signal) == [.send(signal), .suspend])
        var rewritten = state(rewrites: [signal: signal])
        #expect(rewritten.received(signal) == [.send(signal), .suspend])
    }

    @Test("A rewritten signal is replaced, or dropped for 0")
    func rewritten() {
        var state = state(rewrites: [SIGTERM: SIGQUIT, SIGINT: 0])
        #expect(state.received(SIGTERM) == [.send(SIGQUIT)])
        #expect(state.received(SIGINT) == [])
    }

    @Test("The hang-up that follows from leaving a terminal is not the app's, the next one is")
    func terminal() {
        var state = state(leftTerminal: true)
        #expect(state.received(SIGHUP) == [])
        #expect(state.received(SIGCONT) == [])
        #expect(state.received(SIGHUP) == [.send(SIGHUP)])
        #expect(state.received(SIGCONT) == [.send(SIGCONT)])
    }

    @Test("An orphan's end changes nothing; the app's ends everything with its status")
    func ended() {
        var state = state()
        #expect(state.reaped(7, .exited(1)) == [])
        #expect(state.reaped(2, .exited(3)) == [.send(SIGTERM), .exit(3)])
    }

    @Test("Process 1 lets the group finish after a signal killed the app's first process")
    func draining() {
        var state = state(drains: true)
        _ = state.received(SIGTERM)
        #expect(state.reaped(2, .killed(signal: SIGTERM)) == [])
        #expect(state.drainingExitCode == 128 + SIGTERM)
        #expect(state.received(SIGINT) == [.send(SIGINT)])
        #expect(state.reaped(5, .exited(0)) == [])
    }

    @Test("It does not wait after a signal that it never sent, nor after an app that chose to exit")
    func notDraining() {
        var crashed = state(drains: true)
        _ = crashed.received(SIGTERM)
        #expect(crashed.reaped(2, .killed(signal: SIGSEGV)) == [.send(SIGTERM), .exit(139)])
        var exited = state(drains: true)
        _ = exited.received(SIGTERM)
        #expect(exited.reaped(2, .exited(0)) == [.send(SIGTERM), .exit(0)])
        var notOne = state(drains: false)
        _ = notOne.received(SIGTERM)
        #expect(notOne.reaped(2, .killed(signal: SIGTERM)) == [.send(SIGTERM), .exit(143)])
    }

    @Test(
        "A status of wait(2) is an exit code as shells have it",
        arguments: [(0x0000, 0), (0x0300, 3), (0xFF00, 255), (0x000F, 143), (0x0009, 137), (0x008B, 139)]
            as [(Int32, Int32)])
    func status(status: Int32, exitCode: Int32) { #expect(ProcessEnd(status: status).exitCode == exitCode) }
}
