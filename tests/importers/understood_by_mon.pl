#!/usr/bin/perl
# Prints as JSON what mon itself understands of each mon.cf, or writes it beside the file as NAME.expected.json.
# The tests compare that with what the importer understands. Usage:
#
#   perl -I LIB understood_by_mon.pl MON [--write] FILE...
#
# MON is the program itself (/usr/sbin/mon of Debian's package mon), LIB a folder with Time/Period.pm
# (package libtime-period-perl). The program is run as it is, but for its main loop, which is replaced by reading the
# file and printing. The words of monitors and alerts are made by the program's own expressions.
use strict;
use warnings;
use JSON::PP;

my $mon   = shift @ARGV;
my $write = @ARGV && $ARGV[0] eq '--write' ? shift @ARGV : '';
open(my $in, '<', $mon) or die "$mon: $!\n";
my $text = join('', <$in>);
close $in;

my ($head) = $text =~ /\A(.*?^init_cf_globals \(\);|.*?^init_cf_globals\(\);)/ms or die "$mon: no main part\n";
my ($subs) = $text =~ /(^sub do_startup_alerts \{.*)/ms or die "$mon: no subroutines\n";
my $dump   = join('', <DATA>);

for my $file (@ARGV) {
    my $child = open(my $out, '-|');
    die "fork: $!\n" unless defined $child;
    if (!$child) {
        @ARGV = ();
        no warnings;
        $main::FILE = $file;
        local $SIG{__WARN__} = sub { };
        eval "$head\n$dump\nexit;\n$subs";
        die $@ if $@;
        exit;
    }
    my $found = join('', <$out>);
    close $out;
    die "$file: mon printed nothing\n" if $found eq '';
    if ($write) {
        (my $name = $file) =~ s/\.cf\z/.expected.json/;
        open(my $to, '>', $name) or die "$name: $!\n";
        print $to $found;
        close $to;
    }
    else { print $found; }
}

__DATA__
{
no strict;
no warnings;
require JSON::PP;
my $warnings = "";
open(my $stderr, '>&', \*STDERR);
close STDERR;
open(STDERR, '>', \$warnings);
my $message = read_cf($main::FILE, 1);
close STDERR;
open(STDERR, '>&', $stderr);
my %found = (
    program => 'mon 1.3.6-4 (Debian 12; same script in 13)',
    how => 'stock script, main loop replaced by: read_cf(), dump; argv made by the script\'s own expressions (no dependencies failing); TIME stands for the seconds since 1970; the first word of monitor_argv is run as the file of that name in mondir',
    accepted => $message eq "" ? JSON::PP::true() : JSON::PP::false(),
    warnings => [ grep { /^Warning/ } split(/\n/, $warnings) ],
);
if ($message ne "") { $found{message} = $message; }
else {
    $found{globals} = { map { $_ => $CF{$_} } grep { defined $CF{$_} } qw(SCRIPTDIR ALERTDIR MAXPROCS RANDSTART MAX_KEEP) };
    $found{folders} = [ split(/$splitpath/, $CF{"SCRIPTDIR"}) ];
    $found{groups} = { %groups };
    for my $group (keys %watch) {
        for my $service (keys %{$watch{$group}}) {
            my $sref = $watch{$group}->{$service};
            my %each = (
                interval_s => defined $sref->{interval} ? $sref->{interval} + 0 : undef,
                failure_interval_s => defined $sref->{failure_interval} ? $sref->{failure_interval} + 0 : undef,
                ever_checked => defined $sref->{interval} && defined $sref->{monitor} ? JSON::PP::true() : JSON::PP::false(),
                monitor => $sref->{monitor}, environment => $sref->{ENV} || {}, description => $sref->{description},
                dep_behavior => $sref->{dep_behavior}, periods => {},
            );
            for my $key (qw(depend alertdepend monitordepend hostdepend traptimeout trapduration)) {
                $each{$key} = $sref->{$key} if defined $sref->{$key};
            }
            $each{allow_empty_group} = JSON::PP::true() if defined $sref->{allow_empty_group};
            $each{exclude_hosts} = $sref->{exclude_hosts} if keys %{$sref->{exclude_hosts}};
            $each{exclude_period} = $sref->{exclude_period} if $sref->{exclude_period} ne "";
            $each{randskew} = $sref->{randskew} if $sref->{randskew};
            $each{redistribute} = $sref->{redistribute} if $sref->{redistribute} ne "";
            if (defined $sref->{monitor}) {
                my ($monitor, $rest) = ($sref->{monitor} =~ /^(\S+)(\s+(.*))?$/);
                $monitor .= " " . $rest if ($rest);
                my @hosts = ();
                my @args;
                if ($monitor =~ /;;\s*$/) {
                    $monitor =~ s/\s*;;\s*$//;
                    @args = quotewords('\s+', 0, $monitor);
                }
                else {
                    @hosts = grep { !$sref->{exclude_hosts}->{$_} } grep (!/^\*/, @{$groups{$group}});
                    @args = (quotewords('\s+', 0, $monitor), @hosts);
                }
                $each{monitor_argv} = [@args];
            }
            for my $label (keys %{$sref->{periods}}) {
                my $pref = $sref->{periods}->{$label};
                my %period = (when => $pref->{period});
                my %names = (alertevery => 'alertevery_s', alertafter_consec => 'alertafter_failures', alertafter => 'alertafter_failures_within',
                    alertafterival => 'alertafter_s', upalertafter => 'upalertafter_s_never_used', alertexitrange => 'alertexitrange',
                    numalerts => 'numalerts', no_comp_alerts => 'no_comp_alerts', alerts_dont_count => 'alerts_dont_count',
                    _alertevery_strict => 'strict', _observe_detail => 'observe_detail', _ignore_summary => 'ignore_summary');
                for my $name (keys %names) { $period{$names{$name}} = $pref->{$name} if $pref->{$name}; }
                for my $kind (qw(alerts upalerts startupalerts ackalerts disablealerts)) {
                    my @list;
                    my @words = grep (!/^\*/, @{$groups{$group}});
                    my %flag = (upalerts => '-u', ackalerts => '-a', disablealerts => '-D');
                    for my $line (@{$pref->{$kind} || []}) {
                        my ($range, $fac, $args);
                        if ($line =~ /^exit\s*=\s*((\d+|\d+-\d+))\s/i) {
                            $range = $1;
                            ($fac, $args) = (split (/\s+/, $line, 3))[1,2];
                        }
                        else { ($fac, $args) = split (/\s+/, $line, 2); }
                        $args = '' unless defined $args;
                        my @argv = ("-s", $service, "-g", $group, "-h", "@words", "-t", "TIME");
                        push @argv, $flag{$kind} if $flag{$kind};
                        push @argv, quotewords('\s+', 0, $args) if $args ne "";
                        push @list, { script => $fac, exit_range => $range, argv => [@argv] };
                    }
                    $period{$kind} = [@list] if @list;
                }
                $each{periods}->{$label} = {%period};
            }
            $found{watch}->{$group}->{$service} = {%each};
        }
    }
    $found{watch} ||= {};
}
print JSON::PP->new->canonical->indent->space_after->indent_length(1)->encode(\%found);
}
