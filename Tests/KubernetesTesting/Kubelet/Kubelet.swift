import Foundation
import JSON

/// The kubelet of every node ("Pod Lifecycle"): containers are started, ended and restarted on the cluster's clock.
extension StandInCluster {
    func reconcilePod(_ key: ObjectKey) async {
        guard let pod = storage.get(key)?.object else { return }
        guard let node = pod.at("spec", "nodeName")?.string else { return schedule(key, pod) }
        guard nodes.lost[node] == nil, find(.nodes, "", node) != nil else { return }
        if Self.isOver(pod) && pod.isDeleting {
            nodes.pods[pod.uid] = nil
            return finishDeletion(key)
        }
        guard !Self.isOver(pod) else { return }
        if nodes.pods[pod.uid] == nil {
            var state = PodState(start: clock.now)
            let number = count()
            state.ip = "10.\(64 + number / 65_536 % 64).\(number / 256 % 256).\(number % 256)"
            nodes.pods[pod.uid] = state
            modify(key) { $0.set(.string(clock.timestamp), "status", "startTime") }
        }
        if pod.isDeleting { return stop(key, pod) }
        await run(key, pod)
    }

    // MARK: running

    private func run(_ key: ObjectKey, _ pod: JSONValue) async {
        let uid = pod.uid
        let policy = pod.at("spec", "restartPolicy")?.string ?? "Always"
        if let seconds = pod.at("spec", "activeDeadlineSeconds")?.int, let state = nodes.pods[uid], state.end == nil {
            let left = Double(seconds) - clock.now.timeIntervalSince(state.start)
            if left <= 0 {
                nodes.pods[uid]?.end = (
                    "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
                )
            } else {
                requeue(key, after: left)
            }
        }
        if nodes.pods[uid]?.end != nil {
            for name in nodes.pods[uid]?.containers.keys.sorted() ?? [] {
                nodes.pods[uid]?.containers[name]?.end(code: 137, reason: "Error", at: clock.now)
                closeLog(uid, name)
            }
            return writeStatus(key)
        }
        var isInitialized = true
        for container in pod.at("spec", "initContainers")?.array ?? [] {
            let stays = container["restartPolicy"]?.string == "Always"
            await step(
                key, pod, container, isInit: true, policy: stays ? "Always" : policy == "Always" ? "OnFailure" : policy)
            let state = nodes.pods[uid]?.containers[container["name"]?.string ?? ""]
            // The next one starts when this one is done, or runs if it is a sidecar ("Init Containers").
            if stays ? state?.isRunning != true : state?.exitCode != 0 {
                isInitialized = false
                break
            }
        }
        if isInitialized {
            for container in pod.at("spec", "containers")?.array ?? [] {
                await step(key, pod, container, isInit: false, policy: policy)
            }
        }
        writeStatus(key)
    }

    /// Brings one container as far as it comes now.
    private func step(_ key: ObjectKey, _ pod: JSONValue, _ container: JSONValue, isInit: Bool, policy: String) async {
        let (uid, name) = (pod.uid, container["name"]?.string ?? "")
        let image = container["image"]?.string ?? ""
        // Bounded: what ends at once and is restarted at once waits longer each time.
        for _ in 0..<4 {
            let now = clock.now
            var state = nodes.pods[uid]?.containers[name] ?? ContainerState(due: now)
            switch state.phase {
            case .running(let since):
                if state.image != image && !isInit {
                    // Another image: this container alone is killed, then its image is pulled ("Update a container's
                    // image": restartPolicy does not matter).
                    state.end(code: 0, reason: "Completed", at: now)
                    restart(&state, image, now)
                    closeLog(uid, name)
                } else if let end = state.run.end, since + end.after <= now {
                    state.end(code: end.code, reason: end.reason, message: end.message, at: since + end.after)
                    closeLog(uid, name)
                } else {
                    let times = [state.run.end?.after, state.run.readyAfter].compactMap { $0 }.map { since + $0 }
                    if let next = times.filter({ $0 > now }).min() { requeue(key, after: next.timeIntervalSince(now)) }
                    return
                }
            case .ended(let code, _, _, _, _):
                guard policy == "Always" || (policy == "OnFailure" && code != 0) else { return }
                restart(&state, image, now)
            case .waiting:
                guard state.due <= now else { return requeue(key, after: state.due.timeIntervalSince(now)) }
                await start(key, pod, container, isInit: isInit, &state)
            }
            guard nodes.pods[uid] != nil else { return }
            nodes.pods[uid]?.containers[name] = state
        }
        requeue(key, after: 1)
    }

    private func restart(_ state: inout ContainerState, _ image: String, _ now: Date) {
        state.last = state.phase
        state.restarts += 1
        let seconds = state.wait(for: image, at: now)
        state.due = now + seconds
        state.phase = .waiting(
            reason: seconds == 0 ? "ContainerCreating" : "CrashLoopBackOff",
            message: seconds == 0 ? "" : "back-off \(Int(seconds))s restarting failed container")
    }

    private func start(
        _ key: ObjectKey, _ pod: JSONValue, _ container: JSONValue, isInit: Bool, _ state: inout ContainerState
    ) async {
        let image = container["image"]?.string ?? ""
        state.image = image
        let pulled = await pull(image, for: pod, policy: container["imagePullPolicy"]?.string ?? "IfNotPresent")
        let now = clock.now
        switch pulled {
        case .failure(let failure):
            let key = ObjectKey(.pods, pod.namespace, pod.name)
            event(key, "Warning", "Failed", failure.message)
            var isFirst = true
            if case .waiting("ErrImagePull", _) = state.phase { isFirst = false }
            if case .waiting("ImagePullBackOff", _) = state.phase { isFirst = false }
            let seconds = max(10, state.wait(for: "pull " + image, at: now))
            state.due = now + seconds
            state.phase = .waiting(
                reason: isFirst ? "ErrImagePull" : "ImagePullBackOff",
                message: isFirst ? failure.message : "Back-off pulling image \"\(image)\": \(failure.message)")
            return
        case .success(let image): state.imageID = image
        }
        let environment: [String: String]
        let files: [String: [UInt8]]
        do {
            environment = try self.environment(of: container, pod)
            files = try self.files(of: container, pod)
        } catch {
            state.phase = .waiting(reason: "CreateContainerConfigError", message: error.message)
            state.due = now + 10
            return
        }
        state.id =
            "\(nodes.imageForm.runtime)://\(newUID().replacing("-", with: ""))\(newUID().replacing("-", with: ""))"
        let start = ContainerStart(
            pod: pod, container: container, isInit: isInit, restarts: state.restarts, imageID: state.imageID,
            environment: environment, files: files)
        if let program = nodes.program {
            state.run = await program(start)
        } else {
            let ends =
                (isInit && container["restartPolicy"] == nil) || pod.at("spec", "restartPolicy")?.string != "Always"
            state.run = ends ? .exits(0) : .runs
        }
        state.phase = .running(since: clock.now)
        state.log = Array(state.run.log.utf8)
        event(
            ObjectKey(.pods, pod.namespace, pod.name), "Normal", "Started",
            "Started container \(container["name"]?.string ?? "")")
    }

    // MARK: stopping

    /// "Termination of Pods": the containers get their grace period; what has not stopped then is killed.
    private func stop(_ key: ObjectKey, _ pod: JSONValue) {
        let grace = Double(pod.metadata["deletionGracePeriodSeconds"]?.int ?? 30)
        guard let state = nodes.pods[pod.uid] else { return finishDeletion(key) }
        let running = state.containers.filter { $0.value.isRunning }
        let needs = running.values.map(\.run.stopsAfter).max() ?? 0
        let asked = (VirtualClock.date(pod.metadata["deletionTimestamp"]?.string) ?? clock.now) - grace
        let end = asked + min(needs, grace)
        guard end <= clock.now else { return requeue(key, after: end.timeIntervalSince(clock.now)) }
        for (name, container) in running {
            let isKilled = container.run.stopsAfter > grace
            nodes.pods[pod.uid]?.containers[name]?.end(
                code: isKilled ? 137 : container.run.end == nil ? 0 : 143, reason: nil, at: clock.now)
            closeLog(pod.uid, name)
        }
        writeStatus(key, isStopped: true)
        nodes.pods[pod.uid] = nil
        finishDeletion(key)
    }

    /// The kubelet's second deletion, with a grace period of 0.
    private func finishDeletion(_ key: ObjectKey) {
        let object = modify(key) { $0.set(0, "metadata", "deletionGracePeriodSeconds") }
        if let object, object.finalizers.isEmpty { erase(key) }
    }

    // MARK: the status

    func writeStatus(_ key: ObjectKey, isStopped: Bool = false) {
        guard let pod = storage.get(key)?.object, let state = nodes.pods[pod.uid] else { return }
        let now = clock.now
        func statuses(_ list: String) -> [(JSONValue, ContainerState)] {
            (pod.at("spec", list)?.array ?? []).map { container in
                var own = state.containers[container["name"]?.string ?? ""] ?? ContainerState(due: now)
                if own.image.isEmpty {
                    own.image = container["image"]?.string ?? ""
                    if list == "containers" && pod.at("spec", "initContainers") != nil {
                        own.phase = .waiting(reason: "PodInitializing", message: "")
                    }
                }
                return (container, own)
            }
        }
        let (inits, main) = (statuses("initContainers"), statuses("containers"))
        let policy = pod.at("spec", "restartPolicy")?.string ?? "Always"
        let initsDone = inits.allSatisfy { container, own in
            container["restartPolicy"]?.string == "Always" ? own.isRunning : own.exitCode == 0
        }
        let initFailed = policy == "Never" && inits.contains { $0.1.exitCode.map { $0 != 0 } ?? false }
        let codes = main.compactMap(\.1.exitCode)
        let allEnded = codes.count == main.count
        let mayEnd = policy == "Never" || (policy == "OnFailure" && codes.allSatisfy { $0 == 0 }) || isStopped
        var phase = "Running"
        if state.end != nil || initFailed || (allEnded && mayEnd && codes.contains { $0 != 0 }) {
            phase = "Failed"
        } else if allEnded && mayEnd {
            phase = "Succeeded"
        } else if isStopped {
            phase = "Failed"
        } else if !initsDone
            || main.contains(where: { own in
                if case .waiting = own.1.phase { own.1.restarts == 0 } else { false }
            })
        {
            phase = "Pending"
        }
        let isOver = phase == "Failed" || phase == "Succeeded"
        let containersReady = !isOver && main.allSatisfy { $0.1.isReady(at: now) }
        modify(key) { pod in
            let gates = (pod.at("spec", "readinessGates")?.array ?? []).compactMap { $0["conditionType"]?.string }
            let gatesOpen = gates.allSatisfy { Self.condition(pod, $0) }
            pod.set(.string(phase), "status", "phase")
            pod.set(pod.metadata["generation"], "status", "observedGeneration")
            pod.set("192.0.2.10", "status", "hostIP")
            if main.contains(where: { !$0.1.id.isEmpty }) || inits.contains(where: { !$0.1.id.isEmpty }) {
                pod.set(.string(state.ip), "status", "podIP")
                pod.set([["ip": .string(state.ip)]], "status", "podIPs")
            }
            pod.set(
                .array(main.map { $0.1.json(name: $0.0["name"]?.string ?? "", at: now) }), "status",
                "containerStatuses")
            if !inits.isEmpty {
                pod.set(
                    .array(
                        inits.map { container, own in
                            var json = own.json(name: container["name"]?.string ?? "", at: now)
                            // An init container is ready when it is done.
                            if own.exitCode == 0 { json.set(true, "ready") }
                            return json
                        }), "status", "initContainerStatuses")
            }
            if let end = state.end {
                pod.set(.string(end.reason), "status", "reason")
                pod.set(.string(end.message), "status", "message")
            }
            let over = phase == "Succeeded" ? "PodCompleted" : phase == "Failed" ? "PodFailed" : ""
            setCondition(&pod, "PodReadyToStartContainers", !isOver)
            setCondition(&pod, "Initialized", initsDone, initsDone ? "" : "ContainersNotInitialized")
            setCondition(
                &pod, "ContainersReady", containersReady,
                containersReady ? "" : isOver ? over : "ContainersNotReady")
            let why = isOver ? over : containersReady ? "ReadinessGatesNotReady" : "ContainersNotReady"
            setCondition(&pod, "Ready", containersReady && gatesOpen, containersReady && gatesOpen ? "" : why)
            if state.end?.reason == "Evicted" {
                setCondition(&pod, "DisruptionTarget", true, "TerminationByKubelet", state.end?.message ?? "")
            }
        }
    }
}
