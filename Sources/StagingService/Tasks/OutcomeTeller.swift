import JSON
import Logging
import Records
import Runtime
import Transfer

/// Tells outcomes to those who asked for the tasks.
struct OutcomeTeller: Sendable {
    /// Outcomes that are sent at the same time.
    private static let maximumSending = 8

    private let records: RecordStore<StagingError>
    private let client: TaskClient
    private let limits: StagingTasks.Limits
    private let now: @Sendable () -> Int64
    private let logger: Logger
    private let sending = Limiter(maximumSending)

    init(
        _ records: RecordStore<StagingError>, _ client: TaskClient, _ limits: StagingTasks.Limits,
        _ now: @escaping @Sendable () -> Int64, _ logger: Logger
    ) {
        (self.records, self.client, self.limits) = (records, client, limits)
        (self.now, self.logger) = (now, logger)
    }

    /// Tells an outcome, again until the controller has it, refuses it, or a day is over.
    func tell(_ guid: String) async {
        var pause = limits.firstPause
        while !Task.isCancelled {
            do throws(StagingError) {
                let key = try StagingError.key(StagingRecord.prefix + guid)
                guard let record = try await records.read(key, as: StagingRecord.self)?.value,
                    let delivery = record.delivery, delivery.state == .pending, let url = delivery.url
                else { return }
                let (state, text) = await send(delivery.body, to: url)
                if Task.isCancelled, state == .pending { return }
                let isTooLate = now() - (record.ended ?? 0) > limits.patience
                try await records.update(
                    key, as: StagingRecord.self
                ) { (found) throws(StagingError) -> RecordChange<StagingRecord> in
                    guard var record = found?.value, record.delivery?.state == .pending else { return .keep }
                    record.delivery?.attempts += 1
                    record.delivery?.last = text
                    let final = state == .pending && isTooLate ? .abandoned : state
                    record.delivery?.state = final
                    if final != .pending { record.delivery?.url = nil }
                    return .write(record)
                }
                try await records.sync()
                if state != .pending || isTooLate {
                    let level: Logger.Level = state == .delivered ? .info : .error
                    logger.log(level: level, "staging told", metadata: ["guid": "\(guid)", "answer": "\(text)"])
                    return
                }
            } catch {
                if case .record(.unreadable) = error { return }
                logger.warning(
                    "a staging's outcome is not told yet", metadata: ["guid": "\(guid)", "reason": "\(error)"])
            }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, limits.longestPause)
        }
    }

    /// Sends a completion once.
    private func send(_ body: JSONValue, to url: String) async -> (StagingRecord.Delivery.State, String) {
        do {
            let url = try TransferURL(url)
            try await sending.run(cancelled: CancellationError()) {
                try await client.post(body, to: url)
            }
            return (.delivered, "delivered")
        } catch let error as TransferFailure {
            // The controller refuses a completion after the task's final state: an earlier one has arrived.
            if error.kind == .refused, error.description.contains("InvalidRequest") {
                return (.delivered, "it had been delivered before")
            }
            let isFinal = [.refused, .forbidden, .invalid, .notFound].contains(error.kind)
            return (isFinal ? .abandoned : .pending, error.description)
        } catch {
            return (.pending, "interrupted")
        }
    }
}
