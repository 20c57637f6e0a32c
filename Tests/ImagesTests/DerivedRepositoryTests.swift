import Droplets
import Images
import ImagesTesting
import OCI
import Testing

@Suite("Names of derived repositories")
struct DerivedRepositoryTests {
    @Test(
        "what is reserved is an app's, a stack's or nobody's, and everything else is for those who push",
        arguments: [
            ("cloudfoundry/6f1c", true, true), ("cistern/cflinuxfs4", true, true), ("cloudfoundry", true, false),
            ("cistern", true, false), ("cloudfoundry/a/b", true, false), ("cistern/a/b", true, false),
            ("cistern/a__b", true, true), ("cloudfoundries/a", false, false), ("cisterns/a", false, false),
            ("team/cistern/a", false, false), ("cistern-x/a", false, false),
        ])
    func names(_ text: String, isReserved: Bool, isDerived: Bool) async throws {
        let images = try await TestHouse().images
        let name = try RepositoryName(parsing: text)
        #expect(name.isReserved == isReserved)
        #expect((DerivedRepository(name, in: images) != nil) == isDerived)
        #expect(DerivedRepository.isUnassigned(name) == (isReserved && !isDerived))
    }

    @Test("only tags of referrers may be pushed there")
    func tags() async throws {
        let house = try await TestHouse()
        let hex = String(repeating: "0a", count: 32)
        for repository in [try house.bases(), try house.app(try .init("app"))] {
            for tag in ["sha256-\(hex)", "sha256-\(hex).sig", "sha512-\(hex).att.json"] {
                #expect(repository.takes(try Tag(parsing: tag)), "\(tag)")
            }
            for tag in [
                hex, "latest", "sha256-\(hex.dropLast())", "sha256-\(hex)0", "md5-\(hex)", "sha256-\(hex.uppercased())",
            ] {
                #expect(!repository.takes(try Tag(parsing: tag)), "\(tag)")
            }
        }
    }
}
