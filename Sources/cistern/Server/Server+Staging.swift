import Bits
import Foundation
import Glibc
import Logging
import ObjectStore
import Records
import Rootfs
import Runtime
import ServiceLifecycle
import StagingService
import Transfer

/// The settings of staging, checked before anything starts.
struct StagingSettings: Sendable {
    let tasks: Int
    let limits: SandboxLimits
    let hosts: [String]
    let allowsHTTP: Bool

    /// nil if staging is off.
    init?(_ source: SettingsSource) throws {
        let runs = try source.value(\.stagingRunner) { ["local": true, "off": false][$0] }
        tasks = Int(try source.number(\.stagingTasks))
        var limits = SandboxLimits()
        limits.memory = try source.number(\.stagingMemory)
        limits.disk = try source.number(\.stagingDisk)
        limits.time = .seconds(try source.number(\.stagingTime))
        self.limits = limits
        hosts = try source.value(\.stagingHosts) { text in
            let hosts = text.split(separator: ",").map { String($0.filter { $0 != " " }) }
            return hosts.allSatisfy { DestinationRules.AllowedHost($0) != nil } ? hosts : nil
        }
        allowsHTTP = try source.flag(\.stagingHTTP)
        if !runs { return nil }
    }

    var rules: DestinationRules {
        DestinationRules(
            allowedHosts: Set(hosts.compactMap { DestinationRules.AllowedHost($0) }), allowsPlain: allowsHTTP)
    }

    /// What download and upload are told of it.
    var options: [String] { hosts.flatMap { ["--allow-host", $0] } + (allowsHTTP ? ["--allow-http"] : []) }
}

extension Server {
    /// Makes the staging service; nil if it is off.
    /// - Throws: `CommandError` where builds could not be kept apart from this machine: that says what is missing.
    func makeStaging(
        _ store: any ObjectStore, _ unreadable: UnreadableRecords, _ rootfs: RootfsCatalog,
        _ builds: BuildRootfsCatalog, _ bits: BitsCatalog, _ events: Events, _ logger: Logger
    ) throws -> StagingTasks? {
        guard let staging = settings.staging else { return nil }
        func refuse(_ reason: String) -> CommandError {
            CommandError("\(Setting.table.stagingRunner.key) is local, but \(reason); off starts without staging")
        }
        guard geteuid() == 0 else { throw refuse("only root can give builds a user of their own") }
        let weaknesses = Sandbox(rootfs: "", directory: "", hostUser: HostUsers.standard.lowerBound).weaknesses
        guard weaknesses.isEmpty else { throw refuse(weaknesses.joined(separator: "; ")) }
        let place = directory.path + "/staging"
        let programs = Bundle.main.executableURL?.deletingLastPathComponent().path ?? "."
        let (runner, client): (LocalRunner, TaskClient)
        // The server's own certificate may be by an authority that nobody else knows.
        let authorities = access(directory.authority, R_OK) == 0 ? [directory.authority] : []
        do {
            runner = try LocalRunner(
                programs: try StepPrograms(in: programs), directory: place + "/tasks", bundles: place + "/steps",
                users: HostUsers(), isolatesTransfers: true, isExclusive: true)
            var times = TaskClient.Times()
            times.whole = .seconds(120)
            times.attempts = 2
            client = TaskClient(rules: staging.rules, trust: try TaskTrust(authorities: authorities), times: times)
        } catch { throw refuse("\(error)") }
        var limits = StagingTasks.Limits()
        limits.running = staging.tasks
        return StagingTasks(
            store: store, unreadable: unreadable,
            runner: LocalStagingRunner(
                runner: runner, cache: RootfsCache(directory: place + "/rootfs"), rootfs: rootfs, builds: builds,
                bits: bits, stack: settings.defaultStack, compatibleStacks: settings.compatibleStacks,
                limits: staging.limits,
                options: staging.options, authorities: authorities),
            client: client, limits: limits, events: events, now: SystemClock.now, logger: logger)
    }
}

/// Runs staging tasks, and ends what runs as soon as the server is asked to stop.
struct StagingRuns: Service {
    let tasks: StagingTasks?

    func run() async throws {
        if let tasks {
            await withGracefulShutdownHandler {
                await tasks.run()
            } onGracefulShutdown: {
                tasks.stop()
            }
        }
        // A service that returns before its turn brings all others down.
        try? await gracefulShutdown()
    }
}
