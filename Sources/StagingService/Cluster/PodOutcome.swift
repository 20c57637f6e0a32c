package import JSON

/// How a staging task's pod stands, read from its status and events (Kubernetes, "Pod Lifecycle").
package enum PodOutcome: Hashable, Sendable {
    /// It waits or runs.
    case running
    /// All steps ended well.
    case succeeded
    /// The node it was on is lost: nobody knows what it did, so another pod has to do it again.
    case lost(String)
    case failed(StagingFailure)
}

extension PodOutcome {
    /// For how long an image may be impossible to pull, in seconds: registries restart, and kubelets try again.
    package static let pullPatience: Int64 = 300
    /// For how long no node may have room, in seconds.
    package static let schedulingPatience: Int64 = 600

    /// - Parameters:
    ///   - pod: the Pod.
    ///   - limits: what the task was given, for the sentences.
    ///   - age: for how long the pod has been there, in seconds.
    package init(pod: JSONValue, limits: StagingJob.Limits, age: Int64) {
        let status = pod["status"] ?? .null
        let steps = Self.steps(of: status)
        // A step that failed says more than what became of the pod as a whole.
        for step in steps {
            if let terminated = step.state["terminated"], let failure = Self.failure(of: step.name, terminated, limits)
            {
                self = Self.unless(status, limits, failure)
                return
            }
        }
        switch status["phase"]?.string {
        case "Succeeded": self = .succeeded
        case "Failed": self = Self.unless(status, limits, nil)
        default: self = Self.waiting(status, steps, limits, age) ?? .running
        }
    }

    private struct Step {
        let name: String
        let state: JSONValue
    }

    private static func steps(of status: JSONValue) -> [Step] {
        ((status["initContainerStatuses"]?.array ?? []) + (status["containerStatuses"]?.array ?? [])).map {
            Step(name: $0["name"]?.string ?? "step", state: $0["state"] ?? .null)
        }
    }

    /// What happened to the pod as a whole explains a step's end better than its exit code: an evicted pod's
    /// containers are ended by signal 9, too.
    private static func unless(
        _ status: JSONValue, _ limits: StagingJob.Limits, _ failure: StagingFailure?
    ) -> PodOutcome {
        let message = status["message"]?.string ?? ""
        switch status["reason"]?.string {
        case "Evicted":
            return .failed(
                StagingFailure(
                    phase: failure?.phase ?? "start", id: .insufficientResources,
                    message: message.contains("ephemeral") || message.contains("emptyDir")
                        ? "the task wrote more than its limit of \(limits.disk >> 20) MiB"
                        : "the node had no room left and evicted the task\(sentence(message))"))
        case "DeadlineExceeded":
            return .failed(
                StagingFailure(
                    phase: failure?.phase ?? "start",
                    message: "the task took longer than its limit of \(limits.time) seconds"))
        case "NodeLost", "NodeShutdown", "Terminated", "Shutdown":
            return .lost("the node of the task was shut down or lost\(sentence(message))")
        default: break
        }
        if let disruption = condition("DisruptionTarget", status) {
            return .lost("the task's pod was removed from its node\(sentence(disruption["message"]?.string ?? ""))")
        }
        if let failure { return .failed(failure) }
        return .failed(StagingFailure(phase: "start", message: "the task's pod failed\(sentence(message))"))
    }

    private static func failure(
        of step: String, _ terminated: JSONValue, _ limits: StagingJob.Limits
    ) -> StagingFailure? {
        let code = Int32(clamping: terminated["exitCode"]?.integer ?? -1)
        guard code != 0 else { return nil }
        if terminated["reason"]?.string == "OOMKilled" {
            let memory = step == "build" ? limits.memory : limits.transferMemory
            return StagingFailure(
                phase: step, id: .insufficientResources,
                message: "the \(step) needed more memory than its limit of \(memory >> 20) MiB", exitCode: code)
        }
        let words = terminated["message"]?.string ?? ""
        if step == "build" {
            // The message is a stranger's, so it may choose the words, but not the kind.
            return StagingFailure.build(
                exitCode: code, result: try? JSONValue(parsing: Array(words.utf8)), log: lines(words))
        }
        let last = lines(words).last ?? ""
        let name = "stage-\(step): "
        let reason = last.hasPrefix(name) ? String(last.dropFirst(name.count)) : last
        return StagingFailure(
            phase: step, message: reason.isEmpty ? "the \(step) failed" : "\(step): \(reason)", exitCode: code,
            log: lines(words))
    }

    /// Why a pod will never start, though it only waits; nil while it may.
    private static func waiting(
        _ status: JSONValue, _ steps: [Step], _ limits: StagingJob.Limits, _ age: Int64
    ) -> PodOutcome? {
        for step in steps {
            guard let waiting = step.state["waiting"], let reason = waiting["reason"]?.string else { continue }
            let message = waiting["message"]?.string ?? ""
            switch reason {
            case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable":
                guard age > pullPatience else { continue }
                return .failed(
                    StagingFailure(
                        phase: "start", message: "the builder's image can't be pulled\(sentence(message))"))
            // No time mends these.
            case "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
                "RunContainerError", "StartError":
                return .failed(
                    StagingFailure(
                        phase: "start", message: "the step \(step.name) can't start, \(reason)\(sentence(message))"))
            default: continue
            }
        }
        guard let scheduled = condition("PodScheduled", status, is: "False"), age > schedulingPatience else {
            return nil
        }
        return .failed(
            StagingFailure(
                phase: "start", id: .insufficientResources,
                message: "no node has room for the task, which asks for \(limits.memory >> 20) MiB of memory and "
                    + "\(limits.disk >> 20) MiB of disk\(sentence(scheduled["message"]?.string ?? ""))"))
    }

    private static func condition(_ type: String, _ status: JSONValue, is value: String = "True") -> JSONValue? {
        status["conditions"]?.array?.first { $0["type"]?.string == type && $0["status"]?.string == value }
    }

    private static func lines(_ text: String) -> [String] {
        var tail = LogTail()
        tail.take(Array(text.utf8)[...])
        return tail.lines
    }

    /// Somebody's words after a colon, bounded and without control characters; nothing if there are none.
    private static func sentence(_ words: String) -> String {
        let plain = String(
            String.UnicodeScalarView(words.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(300)))
        let text = plain.hasSuffix(".") ? String(plain.dropLast()) : plain
        return text.isEmpty ? "" : ": \(text)"
    }
}
