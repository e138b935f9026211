use super::*;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use proptest::prelude::*;

const PLAIN: Binding<'static> = Binding { selected: false, end_point: None };

fn verifier(password: &str) -> Verifier {
    Verifier::derive(password, b"saltsaltsaltsalt", NonZeroU32::new(64).unwrap())
}

/// The whole exchange with an independent client.
fn against(
    client: ChannelBinding,
    binding: Binding<'_>,
    verifier: Verifier,
    password: &str,
) -> Result<Option<Proved>, LoginError> {
    let mut client = ScramSha256::new(password.as_bytes(), client);
    let exchange = Exchange::begin(client.message(), binding, verifier, "ours")?;
    client.update(exchange.challenge().as_bytes()).unwrap();
    let proved = exchange.finish(client.message())?;
    if let Some(proved) = &proved {
        client.finish(proved.server_final.as_bytes()).unwrap();
    }
    Ok(proved)
}

#[test]
fn the_oracle_gets_in_and_leaves_its_key() {
    for password in ["secret", "pass\u{a0}word", "I\u{ad}X", "\u{7}bell", "пароль", "a,b=c"] {
        let verifier = verifier(password);
        let proved =
            against(ChannelBinding::unsupported(), PLAIN, verifier.clone(), password).unwrap().unwrap();
        assert_eq!(hash(&proved.client_key), verifier.stored_key);
        assert_eq!(proved.server_key, verifier.server_key);
        let wrong = against(ChannelBinding::unsupported(), PLAIN, verifier, "wrong").unwrap();
        assert_eq!(wrong, None);
    }
}

#[test]
fn binds_to_the_channel() {
    let end_point = [7; 32];
    let bound = Binding { selected: true, end_point: Some(&end_point) };
    let client = |bytes: &[u8]| ChannelBinding::tls_server_end_point(bytes.to_vec());
    assert!(against(client(&end_point), bound, verifier("x"), "x").unwrap().is_some());
    assert_eq!(against(client(&[8; 32]), bound, verifier("x"), "x"), Err(LoginError::Binding));
    // "unrequested" says that we offered nothing; we did.
    let offered = Binding { selected: false, end_point: Some(&end_point) };
    let unaware = against(ChannelBinding::unrequested(), offered, verifier("x"), "x");
    assert_eq!(unaware, Err(LoginError::BindingNegotiation));
    assert!(against(ChannelBinding::unrequested(), PLAIN, verifier("x"), "x").unwrap().is_some());
    assert!(against(ChannelBinding::unsupported(), offered, verifier("x"), "x").unwrap().is_some());
    for (client, binding) in [(ChannelBinding::unsupported(), bound), (client(&end_point), PLAIN)] {
        assert!(matches!(against(client, binding, verifier("x"), "x"), Err(LoginError::Scram(_))));
    }
}

#[test]
fn refuses_malformed_first_messages() {
    for (message, sqlstate) in [
        (&b""[..], "08P01"),
        (b"n", "08P01"),
        (b"n,", "08P01"),
        (b"n,,", "08P01"),
        (b"n,,r=abc", "08P01"),
        (b"n,,n=", "08P01"),
        (b"n,,n=,r=", "08P01"),
        (b"n,,n=,r=a\x01", "08P01"),
        (b"n,,m=x,n=,r=a", "0A000"),
        (b"n,a=root,n=,r=a", "0A000"),
        (b"n,x,n=,r=a", "08P01"),
        (b"q,,n=,r=a", "08P01"),
        (b"p=tls-unique,,n=,r=a", "08P01"),
        (b"n,,n=,r=a\0", "08P01"),
        (b"\xff", "08P01"),
    ] {
        let error = Exchange::begin(message, PLAIN, verifier("x"), "ours").unwrap_err();
        assert_eq!(error.sqlstate(), sqlstate, "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn refuses_answers_to_other_challenges() {
    let exchange = Exchange::begin(b"n,,n=,r=theirs", PLAIN, verifier("x"), "ours").unwrap();
    let proof = BASE64.encode([0; 32]);
    for (message, expected) in [
        (format!("c=biws,r=theirsours,p={proof}"), Ok(None)),
        (format!("c=biws,r=theirs,p={proof}"), Err(LoginError::ScramNonce)),
        (format!("c=biws,r=theirsOURS,p={proof}"), Err(LoginError::ScramNonce)),
    ] {
        assert_eq!(exchange.finish(message.as_bytes()), expected);
    }
    for message in ["", "c=biws", "c=biws,r=theirsours", "c=eSws,r=theirsours,p=AAAA", "r=x,c=biws,p=AAAA"] {
        assert!(matches!(exchange.finish(message.as_bytes()), Err(LoginError::Scram(_))), "{message}");
    }
    let other = format!("c=eSws,r=theirsours,p={proof}");
    assert!(matches!(exchange.finish(other.as_bytes()), Err(LoginError::Scram(_))));
}

#[test]
fn reads_postgresqls_own_verifier() {
    // The example of RFC 7677, section 3, in PostgreSQL's form.
    let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let verifier = Verifier::parse(text).unwrap();
    assert!(verifier.accepts("pencil") && !verifier.accepts("Pencil"));
    for bad in [
        "",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256$4096:$x:y",
        "SCRAM-SHA-256$0:W22Z$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        "SCRAM-SHA-256$4096:W22Z$AAAA:AAAA",
        "SCRAM-SHA-1$4096:W22Z$AAAA:AAAA",
    ] {
        assert_eq!(Verifier::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_decoy_is_the_same_every_time_and_fits_nothing() {
    let secret = [9; 32];
    let decoy = Verifier::decoy(&secret, "mallory");
    assert_eq!(decoy, Verifier::decoy(&secret, "mallory"));
    assert_ne!(decoy.salt, Verifier::decoy(&secret, "trudy").salt);
    assert_eq!((decoy.salt.len(), decoy.iterations), (16, ITERATIONS));
    assert_eq!(against(ChannelBinding::unsupported(), PLAIN, decoy, "x"), Ok(None));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[nyp,=armc\0]{0,20}") {
        let exchange = Exchange::begin(b"n,,n=,r=theirs", PLAIN, Verifier::decoy(&[0; 32], "x"), "ours").unwrap();
        for message in [&bytes[..], text.as_bytes()] {
            let _ = exchange.finish(message);
            let _ = Exchange::begin(message, PLAIN, Verifier::decoy(&[0; 32], "x"), "ours");
        }
        let _ = Verifier::parse(&text);
    }
}
