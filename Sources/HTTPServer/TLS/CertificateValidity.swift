import NIOSSL
import Runtime

/// When a certificate that is in force is valid (RFC 5280, section 4.1.2.5), and what to say of that.
struct CertificateValidity: Hashable, Sendable {
    /// The outcomes that need somebody to do something; the texts are shown by `/readyz`.
    enum Problem: String, Comparable {
        case expiresSoon = "expires soon"
        case notYetValid = "not yet valid"
        case expired

        private var rank: Int { [Self.expiresSoon, .notYetValid, .expired].firstIndex(of: self) ?? 0 }
        static func < (left: Self, right: Self) -> Bool { left.rank < right.rank }
    }

    private static let day: Int64 = 86_400
    /// What tools that renew certificates leave at least, so that it means that they did not.
    private static let warningDays: Int64 = 14

    /// The file that has it.
    let path: String
    private let first: Int64
    private let last: Int64

    init(_ certificate: NIOSSLCertificate, path: String) {
        self.path = path
        first = Int64(certificate.notValidBefore)
        last = Int64(certificate.notValidAfter)
    }

    /// - Parameter now: seconds since 1970.
    /// - Returns: nil if all is well. A certificate that lives a few days only is renewed late in its life, so that the
    ///   last fifth of it is what counts as soon.
    func problem(at now: Int64) -> Problem? {
        if now > last { return .expired }
        if now < first { return .notYetValid }
        let (life, overflow) = last.subtractingReportingOverflow(first)
        return last - now < min(Self.warningDays * Self.day, overflow ? .max : life / 5) ? .expiresSoon : nil
    }

    /// A sentence for the log. It is another one each day, so that it is logged again.
    func sentence(at now: Int64) -> String? {
        guard let problem = problem(at: now) else { return nil }
        let remedy = "replace the file, and it is in force within seconds"
        switch problem {
        case .expired:
            return "a certificate in \(path) expired \(Self.span(now - last)) ago, at "
                + "\(Timestamp(seconds: last).rfc3339), and clients refuse it: \(remedy)"
        case .notYetValid:
            return "a certificate in \(path) is not valid before \(Timestamp(seconds: first).rfc3339), in "
                + "\(Self.span(first - now)), and clients refuse it till then: look at this machine's clock, or \(remedy)"
        case .expiresSoon:
            return "a certificate in \(path) expires in \(Self.span(last - now)), at "
                + "\(Timestamp(seconds: last).rfc3339): \(remedy)"
        }
    }

    private static func span(_ seconds: Int64) -> String {
        switch seconds / day {
        case 0: "less than a day"
        case 1: "a day"
        case let days: "\(days) days"
        }
    }
}
