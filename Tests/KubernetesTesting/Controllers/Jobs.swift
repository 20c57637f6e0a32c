import Foundation
import JSON

/// "Jobs" and "CronJob".
extension StandInCluster {
    private static let tracking = "batch.kubernetes.io/job-tracking"

    func reconcileJob(_ key: ObjectKey, _ object: JSONValue) async {
        if Self.isFinished(object) {
            release(podsOf: object)
            return expireJob(key, object)
        }
        if object.isDeleting {
            release(podsOf: object)
            return
        }
        if object.at("status", "startTime") == nil {
            modify(key) { $0.set(.string(clock.timestamp), "status", "startTime") }
        }
        var succeeded = object.at("status", "succeeded")?.int ?? 0
        var failed = object.at("status", "failed")?.int ?? 0
        var verdict: (type: String, reason: String, message: String)?
        // Each pod that ended is counted once: its finalizer goes when it is ("Job tracking with finalizers").
        for pod in pods(of: object) where pod.finalizers.contains(Self.tracking) {
            // A pod that is gone without an end counts as failed.
            guard Self.isOver(pod) || (pod.isDeleting && pod.at("spec", "nodeName") == nil) else { continue }
            if Self.phase(pod) == "Succeeded" {
                succeeded += 1
            } else {
                switch Self.action(of: object.at("spec", "podFailurePolicy"), for: pod) {
                case "FailJob":
                    failed += 1
                    verdict = (
                        "Failed", "PodFailurePolicy",
                        "Pod \(pod.namespace)/\(pod.name) matching FailJob rule"
                    )
                case "Ignore": break
                default: failed += 1
                }
            }
            removeFinalizer(Self.tracking, of: ObjectKey(.pods, pod.namespace, pod.name), .pods)
        }
        let alive = pods(of: object).filter { !Self.isOver($0) && !$0.isDeleting }
        let completions = object.at("spec", "completions")?.int
        let limit = object.at("spec", "backoffLimit")?.int ?? 6
        let restarts = alive.reduce(0) { sum, pod in
            sum + (pod.at("status", "containerStatuses")?.array ?? []).reduce(0) { $0 + ($1["restartCount"]?.int ?? 0) }
        }
        let started = VirtualClock.date(object.at("status", "startTime")?.string) ?? clock.now
        if let seconds = object.at("spec", "activeDeadlineSeconds")?.int, verdict == nil {
            let left = Double(seconds) - clock.now.timeIntervalSince(started)
            if left <= 0 {
                verdict = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
            } else {
                requeue(key, after: left)
            }
        }
        // Restarts of containers count too where pods are not replaced ("Pod backoff failure policy").
        let isOverLimit =
            failed > limit
            || (object.at("spec", "template", "spec", "restartPolicy")?.string == "OnFailure" && restarts > 0
                && restarts >= limit)
        if verdict == nil && isOverLimit {
            verdict = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        }
        if let completions, succeeded >= completions, verdict == nil {
            verdict = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        }
        if let verdict {
            // A deadline deletes what runs, and with it its exit codes and logs.
            alive.forEach(deletePod)
            writeJob(key, succeeded: succeeded, failed: failed + (verdict.type == "Failed" ? alive.count : 0), verdict)
            event(
                key, verdict.type == "Complete" ? "Normal" : "Warning",
                verdict.type == "Complete" ? "Completed" : verdict.reason, verdict.message)
            release(podsOf: object)
            return
        }
        writeJob(key, succeeded: succeeded, failed: failed, nil)
        await startPods(key, object, alive, succeeded: succeeded, failed: failed)
        writeJob(key, succeeded: succeeded, failed: failed, nil)
    }

    private func startPods(
        _ key: ObjectKey, _ object: JSONValue, _ alive: [JSONValue], succeeded: Int, failed: Int
    ) async {
        if object.at("spec", "suspend")?.bool == true { return alive.forEach(deletePod) }
        let parallelism = object.at("spec", "parallelism")?.int ?? 1
        let left = (object.at("spec", "completions")?.int).map { $0 - succeeded } ?? (succeeded > 0 ? 0 : parallelism)
        let wanted = min(parallelism, max(0, left))
        guard alive.count < wanted else { return }
        // With a failure policy a pod is replaced only when it has ended ("Pod replacement policy").
        let policy = object.at("spec", "podReplacementPolicy")?.string
        if policy == "Failed", pods(of: object).contains(where: { $0.isDeleting && !Self.isOver($0) }) { return }
        // "Pod backoff failure policy": 10 s, 20 s, 40 s … up to six minutes after the last failure.
        let last = pods(of: object).filter { Self.phase($0) == "Failed" }.compactMap(endTime).max()
        if failed > 0, let last {
            let due = last + min(360, 10 * pow(2, Double(min(failed, 10) - 1)))
            if due > clock.now { return requeue(key, after: due.timeIntervalSince(clock.now)) }
        }
        for _ in alive.count..<wanted {
            let made = await makePod(
                from: object.at("spec", "template"), owner: object, ownerKey: key, finalizer: Self.tracking)
            guard let made else { return }
            event(key, "Normal", "SuccessfulCreate", "Created pod: \(made.name)")
        }
    }

    private func endTime(_ pod: JSONValue) -> Date? {
        let all =
            (pod.at("status", "containerStatuses")?.array ?? [])
            + (pod.at("status", "initContainerStatuses")?.array ?? [])
        let ends = all.compactMap { VirtualClock.date($0.at("state", "terminated", "finishedAt")?.string) }
        return ends.max() ?? VirtualClock.date(pod.metadata["creationTimestamp"]?.string)
    }

    private func writeJob(
        _ key: ObjectKey, succeeded: Int, failed: Int, _ verdict: (type: String, reason: String, message: String)?
    ) {
        guard let object = storage.get(key)?.object else { return }
        let alive = pods(of: object).filter { !Self.isOver($0) && !$0.isDeleting }
        modify(key) { object in
            let active = verdict == nil ? alive.count : 0
            object.set(active == 0 ? nil : .integer(active), "status", "active")
            object.set(succeeded == 0 ? nil : .integer(succeeded), "status", "succeeded")
            object.set(failed == 0 ? nil : .integer(failed), "status", "failed")
            object.set(.integer(alive.filter(Self.isReady).count), "status", "ready")
            object.set([:], "status", "uncountedTerminatedPods")
            guard let verdict else { return }
            setCondition(
                &object, verdict.type == "Complete" ? "SuccessCriteriaMet" : "FailureTarget", true, verdict.reason,
                verdict.message)
            setCondition(&object, verdict.type, true, verdict.reason, verdict.message)
            if verdict.type == "Complete" { object.set(.string(clock.timestamp), "status", "completionTime") }
        }
    }

    private func release(podsOf object: JSONValue) {
        for pod in pods(of: object) where pod.finalizers.contains(Self.tracking) {
            removeFinalizer(Self.tracking, of: ObjectKey(.pods, pod.namespace, pod.name), .pods)
        }
    }

    static func isFinished(_ job: JSONValue) -> Bool { condition(job, "Complete") || condition(job, "Failed") }

    /// "Automatic Cleanup for Finished Jobs".
    private func expireJob(_ key: ObjectKey, _ object: JSONValue) {
        guard !object.isDeleting, let seconds = object.at("spec", "ttlSecondsAfterFinished")?.int else { return }
        let ended = (object.at("status", "conditions")?.array ?? []).compactMap { condition -> Date? in
            ["Complete", "Failed"].contains(condition["type"]?.string)
                ? VirtualClock.date(condition["lastTransitionTime"]?.string) : nil
        }.max()
        let left = Double(seconds) - clock.now.timeIntervalSince(ended ?? clock.now)
        guard left <= 0 else { return requeue(key, after: left) }
        var options = DeleteOptions()
        options.propagation = .foreground
        _ = try? delete(key, .jobs, options)
    }

    /// "Pod failure policy": the first rule that matches.
    private static func action(of policy: JSONValue?, for pod: JSONValue) -> String? {
        for rule in policy?["rules"]?.array ?? [] {
            if let codes = rule["onExitCodes"] {
                let values = Set(codes["values"]?.array?.compactMap(\.int) ?? [])
                let isIn = codes["operator"]?.string == "In"
                let all =
                    (pod.at("status", "initContainerStatuses")?.array ?? [])
                    + (pod.at("status", "containerStatuses")?.array ?? [])
                let matches = all.contains { status in
                    guard let code = status.at("state", "terminated", "exitCode")?.int, code != 0 else { return false }
                    let name = codes["containerName"]?.string
                    return (name == nil || name == status["name"]?.string) && values.contains(code) == isIn
                }
                if matches { return rule["action"]?.string }
            }
            for pattern in rule["onPodConditions"]?.array ?? [] {
                let matches = (pod.at("status", "conditions")?.array ?? []).contains {
                    $0["type"] == pattern["type"] && $0["status"]?.string == pattern["status"]?.string ?? "True"
                }
                if matches { return rule["action"]?.string }
            }
        }
        return nil
    }

    // MARK: CronJob

    /// "CronJob", with schedules of minutes alone: `* * * * *`, `*/N * * * *` and `M * * * *`.
    func reconcileCronJob(_ key: ObjectKey, _ object: JSONValue) async {
        guard !object.isDeleting, object.at("spec", "suspend")?.bool != true else { return }
        let minute = object.at("spec", "schedule")?.string?.split(separator: " ").first ?? "*"
        let now = Int(clock.now.timeIntervalSince1970)
        let every = minute.hasPrefix("*/") ? max(1, Int(minute.dropFirst(2)) ?? 1) : 1
        func isDue(_ time: Int) -> Bool {
            let current = time / 60 % 60
            return Int(minute).map { $0 == current } ?? (current % every == 0)
        }
        var next = (now / 60 + 1) * 60
        while !isDue(next) { next += 60 }
        requeue(key, after: Double(next) - clock.now.timeIntervalSince1970)
        let slot = now / 60 * 60
        let last = VirtualClock.date(object.at("status", "lastScheduleTime")?.string)
        let made = VirtualClock.date(object.metadata["creationTimestamp"]?.string) ?? clock.now
        guard isDue(slot), last.map({ Int($0.timeIntervalSince1970) < slot }) ?? true,
            Int(made.timeIntervalSince1970) <= slot
        else { return }
        modify(key) {
            $0.set(
                .string(VirtualClock.timestamp(Date(timeIntervalSince1970: Double(slot)))), "status", "lastScheduleTime"
            )
        }
        let children = (dependents[object.uid] ?? []).filter { $0.resource == "jobs.batch" }.sorted()
        let active = children.filter { storage.get($0).map { !Self.isFinished($0.object) } ?? false }
        switch object.at("spec", "concurrencyPolicy")?.string {
        case "Forbid" where !active.isEmpty: return
        case "Replace":
            for job in active { _ = try? delete(job, .jobs, DeleteOptions()) }
        default: break
        }
        var job = object.at("spec", "jobTemplate") ?? [:]
        let name = "\(key.name)-\(slot / 60)"
        job.set(.string(name), "metadata", "name")
        job.set([Self.reference(to: object)], "metadata", "ownerReferences")
        guard let target = Target("/apis/batch/v1/namespaces/\(key.namespace)/jobs", among: types) else { return }
        _ = try? await create(
            job, target, WriteOptions(manager: "kube-controller-manager"), by: .controller("cronjob-controller"))
    }
}
