# Takes the place of ldirectord's main code: reads one file, and prints what was understood as JSON.
use JSON::PP;
no warnings;

$DEBUG = 0;
$HOSTNAME = "director";
$CONFIG = $ARGV[0];
$DAEMON_STATUS = $DAEMON_STATUS_STARTING;

my @warned;
*config_warn = sub { push @warned, $_[1]; };
*ld_openlog = sub { return 0; };
*ld_log = sub { };

my %names;
if ($ENV{NAMES}) {
	open(my $hosts, "<", $ENV{NAMES});
	while (<$hosts>) { my ($address, @names) = split; $names{$_} = $address for @names; }
}
my $by_system = \&ld_gethostbyname;
*ld_gethostbyname = sub {
	my ($name, $af) = @_;
	return $by_system->($names{$name} // $name, $af);
};

read_config();
ld_setup();

sub number { return defined $_[0] ? $_[0] + 0 : undef; }

sub fallback_dump {
	my ($v) = @_;
	my $f = fallback_find($v);
	return undef unless defined $f;
	if (!defined $$f{server}) {
		return { address => undef, port => 0, forward => undef, note => "a global fallback does not work for a firewall"
			. " mark: ldirectord has no address here and calls ipvsadm with -r :0" };
	}
	return { address => $$f{server}, port => number($$f{port}), forward => $$f{forward}, weight => number($$f{weight}) };
}

sub check_dump {
	my ($v) = @_;
	my $type = $$v{checktype};
	my %check = (checktype => $type, really_checked => JSON::PP::true);
	my $negotiates = ($type eq "negotiate" or $type eq "combined");
	if ($negotiates) {
		$check{service} = $$v{service};
		$check{really_checked} = JSON::PP::false if $type eq "negotiate" and $$v{service} eq "none";
		if (grep { $$v{service} eq $_ } ("http", "https", "http_proxy")) {
			$check{http_method} = $$v{httpmethod};
			$check{host_header} = $$v{virtualhost};
		}
		$check{login} = $$v{login} if $$v{login} ne "";
		$check{database} = $$v{database} if $$v{database} ne "";
	}
	$check{really_checked} = JSON::PP::false if $type eq "on" or $type eq "off";
	$check{connects_between_negotiates} = number($$v{num_connects}) if $type eq "combined";
	$check{command} = $$v{checkcommand} if $type =~ /^external/;
	return (\%check, $negotiates);
}

sub real_dump {
	my ($v, $r, $negotiates) = @_;
	my $port = ld_checkport($v, $r);
	my %real = (
		address => $$r{server}, port => number($$r{port}), forward => $$r{forward}, weight => number($$r{weight}),
		lower_threshold => number($$r{"l-threshold"}), upper_threshold => number($$r{"u-threshold"}),
		probe_port => number($port),
	);
	if ($negotiates and $$v{service} ne "none") {
		$real{receive} = $$r{receive};
		if (grep { $$v{service} eq $_ } ("http", "https", "http_proxy")) {
			$real{probe_url} = $$r{url};
		} else {
			$real{request} = $$r{request};
		}
	}
	return \%real;
}

my @services;
for my $v (@VIRTUAL) {
	my ($check, $negotiates) = check_dump($v);
	my $arguments = $$v{flags};
	$arguments =~ s/\s+$//;
	my $is_mark = $$v{protocol} eq "fwm";
	my $has_persistence = defined $$v{persistent};
	push @services, {
		id => get_virtual_id_str($v),
		address => $is_mark ? undef : $$v{server},
		port => $is_mark ? undef : number($$v{port}),
		protocol => $$v{protocol},
		fwmark => $is_mark ? number($$v{fwm}) : undef,
		family => $$v{addressfamily} == AF_INET6 ? "ipv6" : "ipv4",
		scheduler => $$v{scheduler},
		ipvsadm_arguments => $arguments,
		persistence_s => number($$v{persistent}),
		netmask => defined $$v{netmask} && $$v{netmask} =~ /^\d+$/ ? number($$v{netmask}) : $$v{netmask},
		netmask_used => ($has_persistence && defined $$v{netmask}) ? JSON::PP::true : JSON::PP::false,
		one_packet => ($$v{protocol} eq "udp" && $$v{ops} eq "yes") ? JSON::PP::true : JSON::PP::false,
		scheduler_flags => $$v{schedflags},
		check => $check,
		timeout_s => number($negotiates ? $$v{negotiatetimeout} : $$v{checktimeout}),
		checktimeout_s => number($$v{checktimeout}),
		negotiatetimeout_s => number($$v{negotiatetimeout}),
		pause_between_rounds_s => number(
			($FORKING eq "yes" && defined $$v{checkinterval}) ? $$v{checkinterval} : $CHECKINTERVAL
		),
		failures_to_go_down => number($$v{failurecount}),
		passes_to_come_up => 1,
		when_down => (defined $$v{quiescent} ? $$v{quiescent} : $QUIESCENT) eq "yes" ? "quiesce" : "remove",
		fallback => fallback_dump($v),
		real_servers => [ map { real_dump($v, $_, $negotiates) } @{$$v{real}} ],
	};
}

print JSON::PP->new->canonical->encode({
	global => {
		autoreload => $AUTOCHECK, callback => $CALLBACK, checkcount => $CHECKCOUNT, checkinterval => $CHECKINTERVAL,
		checktimeout => $CHECKTIMEOUT, cleanstop => $CLEANSTOP, emailalert => $EMAILALERT,
		emailalertfreq => $EMAILALERTFREQ, failurecount => $FAILURECOUNT, fallbackcommand => $FALLBACKCOMMAND,
		fork => $FORKING, logfile => $LDIRLOG, maintenancedir => $MAINTDIR, negotiatetimeout => $NEGOTIATETIMEOUT,
		quiescent => $QUIESCENT, readdquiescent => $READDQUIESCENT, supervised => $SUPERVISED,
	},
	services => \@services,
	warnings => \@warned,
});
CORE::exit(0);
